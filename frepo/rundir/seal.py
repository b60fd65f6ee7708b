"""JSON files with the digest of their text in their first line."""

import hashlib
import re

_SEAL = re.compile(rb'{\n "sha256": "([0-9a-f]{64})",')


def sealed(text: bytes) -> bytes:
    """Return the JSON of an object, indented by one, with its digest as its first field."""
    return f'{{\n "sha256": "{hashlib.sha256(text).hexdigest()}",'.encode() + text.removeprefix(b"{")


def unsealed(content: bytes) -> tuple[bytes, bool]:
    """Return the JSON of the object, and whether it had a digest: what earlier versions wrote has none.

    Raises:
        ValueError: the digest is that of another text.
    """
    seal = _SEAL.match(content)
    if seal is None:
        return content, False
    text = b"{" + content[seal.end() :]
    if hashlib.sha256(text).hexdigest() != seal[1].decode():
        raise ValueError("its digest does not match")
    return text, True

"""The files of saved states: a digest around bytes, so that a damaged file is noticed without knowing what it holds."""

import hashlib
import json
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from frepo.errors import FrepoError
from frepo.reading import read_regular

FAMILY = b"frepo-state-"
MAGIC = FAMILY + b"2\n"
OLD_MAGIC = FAMILY + b"1\n"
"""First line of files without a record of how they were made, whose digest covers the payload alone."""


class Unusable(Exception):  # noqa: N818 (why, for the warning)
    """A saved state cannot be gone on from, today or later; the text says why."""


def file_of(step: int) -> str:
    """Return the name of the file of the state as of `step`."""
    return f"{step:012}.state"


def state_files(directory: Path) -> list[Path]:
    """Return the paths of saved states, newest first, whatever is there of them."""
    return sorted((path for path in directory.glob("*.state") if path.stem.isdecimal()), reverse=True)


def state_content(payload: bytes, made_under: Mapping[str, Any] | None = None) -> bytes:
    """Return the content of a file.

    It is a line of magic, the SHA-256 of magic and rest, the length (uint32, little-endian) and the JSON of
    `made_under`, and the payload.
    """
    text = json.dumps(made_under or {}, sort_keys=True).encode()
    body = b"".join((len(text).to_bytes(4, "little"), text, payload))
    return b"".join((MAGIC, _digest(MAGIC, body), body))


def read_state(path: Path) -> tuple[dict[str, Any], memoryview]:
    """Return the `made_under` and the payload of a file.

    Raises:
        Unusable: it is damaged.
        FrepoError: it is of a newer version, or cannot be read at present.
    """
    try:
        content = read_regular(path, sys.maxsize)
    except IsADirectoryError:
        raise Unusable("is a directory") from None
    except OSError as error:
        raise FrepoError(
            f"the saved state {path} cannot be read ({error.strerror}) and is left as it is: run the same command "
            "again; if that does not help, move the file away to go on from an older one"
        ) from None
    start = len(MAGIC) + hashlib.sha256().digest_size
    magic, digest, body = content[: len(MAGIC)], content[len(MAGIC) : start], memoryview(content)[start:]
    if magic == OLD_MAGIC and digest == _digest(b"", body):
        return {}, body
    if not magic.startswith(FAMILY) or digest != _digest(magic, body):
        raise Unusable("is damaged (its digest does not match)")
    if magic != MAGIC:
        raise FrepoError(f"the saved state {path} is of a newer frepo: continue with that, or start again with --fresh")
    end = 4 + int.from_bytes(body[:4], "little")
    with foreign(path):
        return dict(json.loads(bytes(body[4:end]))), body[end:]


@contextmanager
def foreign(path: Path) -> Generator[None]:
    """Say of a file that its digest is right, but not what follows: whoever made it did not use frepo.

    Raises:
        FrepoError: the block has failed.
    """
    try:
        yield
    except Exception as error:  # for bytes that are not theirs, JSON, msgpack and Flax raise many kinds
        raise FrepoError(
            f"the saved state {path} is intact, but frepo does not write such ({type(error).__name__}); move the file "
            "away to go on from an older one, or start again with --fresh"
        ) from None


def _digest(magic: bytes, body: bytes | memoryview) -> bytes:
    found = hashlib.sha256(magic)
    found.update(body)
    return found.digest()

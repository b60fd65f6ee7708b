"""Saving and restoring a pytree with a digest, so that a damaged file is noticed and an older one used."""

import hashlib
import json
import sys
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import jax
import numpy as np
from flax import serialization

from frepo.errors import FrepoError
from frepo.progress import warn
from frepo.reading import read_regular
from frepo.rundir.files import write_atomically

FAMILY = b"frepo-state-"
MAGIC = FAMILY + b"2\n"
OLD_MAGIC = FAMILY + b"1\n"
"""First line of files without a record of how they were made, whose digest covers the pytree alone."""
KEPT = 2

T = TypeVar("T")


class _Damaged(Exception):  # noqa: N818 (why, for the warning)
    """The bytes differ from those written; the text says how."""


def save_state(directory: Path, step: int, state: Any, made_under: Mapping[str, Any] | None = None) -> Path:
    """Write `state` as of `step`, atomically, and remove all but the newest two.

    The file is a line of magic, the SHA-256 of magic and rest, the length (uint32, little-endian) and the JSON of
    `made_under`, and Flax's msgpack of the pytree.

    Raises:
        OSError: the disk is full or not writable; earlier states are unchanged.
    """
    directory.mkdir(parents=True, exist_ok=True)
    text = json.dumps(made_under or {}, sort_keys=True).encode()
    body = b"".join((len(text).to_bytes(4, "little"), text, serialization.to_bytes(jax.device_get(state))))
    path = directory / f"{step:012}.state"
    write_atomically(path, b"".join((MAGIC, _digest(MAGIC, body), body)))
    for old in sorted(directory.glob("*.state"))[:-KEPT]:
        old.unlink()
    return path


def restore_newest(
    directory: Path, like: T, accept: Callable[[Mapping[str, Any], Path], None] = lambda *_: None
) -> tuple[int, T] | None:
    """Return (step, state) of the newest intact file, or None; a damaged file is renamed, with a warning.

    `like` is a pytree of arrays or `jax.ShapeDtypeStruct` with the expected structure, shapes and dtypes. `accept` is
    called with the file's `made_under` and its path, and may raise.

    Raises:
        FrepoError: an intact file cannot be used, or a file cannot be read at present; all files are left as they are.
    """
    for path in sorted((path for path in directory.glob("*.state") if path.stem.isdecimal()), reverse=True):
        try:
            made_under, payload = _read(path)
        except _Damaged as error:
            aside = path.with_suffix(".damaged")
            path.rename(aside)
            warn(f"the saved state {path} is damaged ({error}); set aside as {aside.name}, trying an older one")
            continue
        accept(made_under, path)
        return int(path.stem), _in_form_of(like, payload, path)
    return None


def _read(path: Path) -> tuple[dict[str, Any], memoryview]:
    """Return the `made_under` and the msgpack of an intact file."""
    try:
        content = read_regular(path, sys.maxsize)
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
        raise _Damaged("its digest does not match")
    if magic != MAGIC:
        raise FrepoError(f"the saved state {path} is of a newer frepo: continue with that, or start again with --fresh")
    end = 4 + int.from_bytes(body[:4], "little")
    with _said_of(path):
        made_under: Any = dict(json.loads(bytes(body[4:end])))
    return made_under, body[end:]


@contextmanager
def _said_of(path: Path) -> Generator[None]:
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


def _in_form_of(like: T, payload: memoryview, path: Path) -> T:
    wanted = _leaves(serialization.to_state_dict(like))
    with _said_of(path):
        found: Any = serialization.msgpack_restore(payload)  # pyright: ignore[reportArgumentType] (any buffer will do)
        got = _leaves(found)
    differ = [name for name in {**wanted, **got} if wanted.get(name) != got.get(name)]
    if differ:
        name = differ[0]
        raise FrepoError(
            f"the saved state {path} is intact, but has another structure: {name or 'all of it'} is "
            f"{got.get(name, 'not there')}, not {wanted.get(name, 'there')}. Another version of frepo, JAX, Flax or "
            "optax saved it: continue with the versions in stage.json, or start again with --fresh"
        )
    with _said_of(path):
        state: Any = serialization.from_state_dict(like, found)
    return state


def _leaves(tree: Any) -> dict[str, str]:
    """Return dtype and shape of each leaf of a Flax state dict by its path; None and empty values count as leaves."""
    leaves = jax.tree_util.tree_leaves_with_path(
        tree, is_leaf=lambda node: not node if isinstance(node, dict) else node is None
    )
    return {jax.tree_util.keystr(path): _described(leaf) for path, leaf in leaves}


def _described(leaf: Any) -> str:
    if leaf is None or isinstance(leaf, dict):
        return "None" if leaf is None else "empty"
    array = leaf if hasattr(leaf, "dtype") else np.asarray(leaf)
    return f"{np.dtype(array.dtype).name} {list(np.shape(array))}"

"""Saving and restoring a pytree, with a digest, so that a damaged file is noticed and an older one used."""

import hashlib
from pathlib import Path
from typing import Any, TypeVar

import jax
import numpy as np
from flax import serialization

from frepo.files import write_atomically
from frepo.progress import warn

MAGIC = b"frepo-state-1\n"
KEPT = 2

T = TypeVar("T")


def save_state(directory: Path, step: int, state: Any) -> Path:
    """Write `state` as of `step`, atomically, and drop all but the newest two.

    The file is a line of magic, the SHA-256 of the rest and Flax's msgpack of the pytree.

    Raises:
        OSError: the disk is full or cannot be written; earlier states are as they were.
    """
    directory.mkdir(parents=True, exist_ok=True)
    payload = serialization.to_bytes(jax.device_get(state))
    path = directory / f"{step:012}.state"
    write_atomically(path, MAGIC + hashlib.sha256(payload).digest() + payload)
    for old in sorted(directory.glob("*.state"))[:-KEPT]:
        old.unlink()
    return path


def restore_newest(directory: Path, like: T) -> tuple[int, T] | None:
    """Return (step, state) of the newest intact file, or None; a damaged file is renamed and warned of.

    `like` is a pytree of arrays or `jax.ShapeDtypeStruct` with the structure, shapes and dtypes to expect.
    """
    for path in sorted(directory.glob("*.state"), reverse=True):
        try:
            return int(path.stem), _read(path, like)
        except Exception as error:  # msgpack and Flax raise many kinds for bytes that are not theirs
            aside = path.with_suffix(".damaged")
            path.rename(aside)
            warn(f"the saved state {path} is damaged ({error}); set aside as {aside.name}, trying an older one")
    return None


def _read(path: Path, like: T) -> T:
    content = path.read_bytes()
    header = len(MAGIC) + 32
    digest, payload = content[len(MAGIC) : header], content[header:]
    if not content.startswith(MAGIC) or hashlib.sha256(payload).digest() != digest:
        raise ValueError("its digest does not match")
    state: Any = serialization.from_bytes(like, payload)
    jax.tree.map_with_path(_check, like, state)
    return state


def _check(path: Any, expected: Any, found: Any) -> None:
    wanted, got = ((np.shape(leaf), np.dtype(leaf.dtype).name) for leaf in (expected, np.asarray(found)))
    if wanted != got:
        raise ValueError(f"{jax.tree_util.keystr(path)} is {got}, not {wanted}")

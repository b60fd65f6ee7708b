"""Saving and restoring a pytree with a digest, so that a damaged file is noticed and an older one used."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import jax
import numpy as np
from flax import serialization

from frepo.errors import FrepoError
from frepo.progress import warn
from frepo.rundir.files import make_directories, rename, write_atomically
from frepo.rundir.state import Unusable, file_of, foreign, read_state, state_content, state_files

KEPT = 2

T = TypeVar("T")


def state_bytes(state: Any, made_under: Mapping[str, Any] | None = None) -> bytes:
    """Return the content of a file that holds `state`, as Flax's msgpack of the pytree."""
    return state_content(serialization.to_bytes(jax.device_get(state)), made_under)


def save_state(directory: Path, step: int, state: Any, made_under: Mapping[str, Any] | None = None) -> Path:
    """Write `state` as of `step`, atomically, and remove all but the newest two.

    Raises:
        OSError: the disk is full or not writable; earlier states are unchanged.
    """
    make_directories(directory)
    path = directory / file_of(step)
    write_atomically(path, state_bytes(state, made_under))
    for old in [path for path in state_files(directory) if path.is_file()][KEPT:]:
        old.unlink()
    return path


def restore_newest(
    directory: Path, like: T, accept: Callable[[Mapping[str, Any], Path], None] = lambda *_: None
) -> tuple[int, T] | None:
    """Return (step, state) of the newest file that can be used, or None; one that cannot is renamed, with a warning.

    `like` is a pytree of arrays or `jax.ShapeDtypeStruct` with the expected structure, shapes and dtypes. `accept` is
    called with the `made_under` and the path of an intact file, and may raise `Unusable`, or an error that ends it all.

    Raises:
        FrepoError: an intact file cannot be used, or a file cannot be read at present; all files are left as they are.
    """
    for path in state_files(directory):
        try:
            made_under, payload = read_state(path)
            accept(made_under, path)
        except Unusable as error:
            aside = rename(path, path.with_suffix(".damaged"))
            warn(f"the saved state {path} {error}; set aside as {aside.name}, trying an older one")
            continue
        return int(path.stem), _in_form_of(like, payload, path)
    return None


def _in_form_of(like: T, payload: memoryview, path: Path) -> T:
    wanted = _leaves(serialization.to_state_dict(like))
    with foreign(path):
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
    with foreign(path):
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

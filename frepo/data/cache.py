"""Arrays on disk, found by fingerprint, written piece by piece and memory-mapped when read."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import DTypeLike

from frepo.files import directory_written_atomically, sha256_of_file
from frepo.progress import warn

HASHED_UP_TO = 2**31
"""Larger files are known by size and time instead of by their content: reading them would take a minute."""


class NewEntry:
    """A cache entry while it is written."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def create(self, name: str, shape: tuple[int, ...], dtype: DTypeLike) -> np.ndarray:
        """Return an array on disk that is to be filled.

        Raises:
            OSError: the disk has no room for it.
        """
        path = self._directory / f"{name}.npy"
        array = open_memmap(path, mode="w+", dtype=dtype, shape=shape)
        with path.open("r+b") as file:  # a full disk is an error now, and not a crash when a page is written
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
        return array

    def store(self, name: str, array: np.ndarray) -> None:
        """Write a small array whole."""
        self.create(name, array.shape, array.dtype)[...] = array


def cached(
    directory: Path, compute: Callable[[NewEntry], dict[str, Any]]
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return named arrays and JSON facts from `directory`; where it is not there, `compute` fills it.

    `compute` creates the arrays in the entry that it is given, and returns the facts. A damaged entry is computed
    again, with a warning; an interrupted one leaves nothing. Arrays come back memory-mapped, read-only.

    Raises:
        OSError: the disk is full.
    """
    try:
        return _read(directory)
    except FileNotFoundError:
        pass
    except (ValueError, KeyError) as error:
        warn(f"the cache entry {directory} is damaged ({error}); computing it again")
        shutil.rmtree(directory)
    with directory_written_atomically(directory) as temporary:
        facts = compute(NewEntry(temporary))
        marks = {path.stem: _mark(path) for path in sorted(temporary.glob("*.npy"))}
        (temporary / "entry.json").write_text(json.dumps({"arrays": marks, "facts": facts}))
    return _read(directory)


def _read(directory: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    entry = json.loads((directory / "entry.json").read_text())
    arrays = {}
    for name, mark in entry["arrays"].items():
        path = directory / f"{name}.npy"
        if not path.exists() or _mark(path) != mark:
            raise ValueError(f"{path.name} is not what was written")
        arrays[name] = np.load(path, mmap_mode="r", allow_pickle=False)
    return arrays, entry["facts"]


def _mark(path: Path) -> list[Any]:
    status = path.stat()
    return [status.st_size, sha256_of_file(path) if status.st_size <= HASHED_UP_TO else status.st_mtime_ns]

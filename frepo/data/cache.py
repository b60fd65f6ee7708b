"""Arrays on disk, found by fingerprint, written piece by piece and memory-mapped when read."""

import hashlib
import json
import mmap
import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import DTypeLike

from frepo.progress import warn
from frepo.rundir.files import delete, directory_written_atomically, sha256_of_file
from frepo.rundir.seal import sealed, unsealed

ENTRY = "entry.json"
DAMAGED = (ValueError, KeyError, TypeError, AttributeError, FileNotFoundError, IsADirectoryError, NotADirectoryError)
"""Exceptions of an entry that is not as it was written."""
HASHED_UP_TO = 2**31
"""Larger files are identified by size and time instead of content: reading them would take a minute."""


class ArrayWriter:
    """Writes an array piece by piece, without holding or mapping it."""

    def __init__(self, file: BinaryIO, dtype: np.dtype[Any]) -> None:
        self._file, self._dtype = file, dtype
        self._digest = hashlib.sha256()

    def append(self, part: np.ndarray) -> None:
        """Write the next entries of the leading axis.

        Raises:
            OSError: the disk is full.
            TypeError: the array's dtype does not hold every value of the part's.
        """
        content = np.ascontiguousarray(part.astype(self._dtype, casting="safe", copy=False)).data
        self._file.write(content)
        self._digest.update(content)

    @property
    def digest(self) -> str:
        """SHA-256 of the bytes appended so far."""
        return self._digest.hexdigest()


class NewEntry:
    """A cache entry during its writing."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    @contextmanager
    def writing(self, name: str, shape: tuple[int, ...], dtype: DTypeLike) -> Generator[ArrayWriter]:
        """Yield a writer of the array `name`; its space is reserved at once, so that a full disk shows up early.

        Raises:
            OSError: the disk has no room.
        """
        kind = np.dtype(dtype)
        with (self._directory / f"{name}.npy").open("wb") as file:
            header = {"descr": np.lib.format.dtype_to_descr(kind), "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
            whole = file.tell() + int(np.prod(shape)) * kind.itemsize
            file.flush()
            os.posix_fallocate(file.fileno(), 0, whole)
            yield ArrayWriter(file, kind)
            if file.tell() != whole:
                raise ValueError(f"{name}: {file.tell()} bytes were written instead of {whole}")

    def store(self, name: str, array: np.ndarray) -> str:
        """Write an array whole and return the SHA-256 of its bytes."""
        with self.writing(name, array.shape, array.dtype) as writer:
            writer.append(array)
            return writer.digest


def cached(
    directory: Path, compute: Callable[[NewEntry], dict[str, Any]]
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return named arrays and JSON facts from `directory`; if it does not exist, `compute` fills it.

    `compute` writes the arrays into the given entry, and returns the facts. A damaged entry is computed again, with a
    warning; an interrupted one leaves nothing. Arrays come back memory-mapped, read-only.

    Raises:
        OSError: the disk is full.
    """
    if directory.exists():  # it comes into being with all that it holds
        try:
            return _read(directory)
        except DAMAGED as error:
            warn(f"the cache entry {directory} is damaged ({error}); computing it again")
            delete(directory)
    with directory_written_atomically(directory) as temporary:
        facts = compute(NewEntry(temporary))
        marks = {path.stem: _mark(path) for path in sorted(temporary.glob("*.npy"))}
        (temporary / ENTRY).write_bytes(sealed(json.dumps({"arrays": marks, "facts": facts}, indent=1).encode()))
    return _read(directory)


def release(array: np.ndarray) -> None:
    """Drop the pages read of a memory-mapped array from this process's memory; the system keeps them while it can."""
    mapped = getattr(array, "_mmap", None)
    if isinstance(mapped, mmap.mmap):
        mapped.madvise(mmap.MADV_DONTNEED)


def _read(directory: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    entry = json.loads(unsealed((directory / ENTRY).read_bytes())[0])
    arrays = {}
    for name, mark in entry["arrays"].items():
        path = directory / f"{name}.npy"
        if not path.exists() or _mark(path) != mark:
            raise ValueError(f"{path.name} differs from what was written")
        arrays[name] = np.load(path, mmap_mode="r", allow_pickle=False)
    return arrays, entry["facts"]


def _mark(path: Path) -> list[Any]:
    status = path.stat()
    return [status.st_size, sha256_of_file(path) if status.st_size <= HASHED_UP_TO else status.st_mtime_ns]

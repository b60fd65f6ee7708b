"""The files of a data set seen from outside: enough to tell quickly that none has changed."""

import errno
import hashlib
import os
from collections import Counter
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

from frepo.data.sources.known import comes_from
from frepo.data.sources.places import INDEX, hub_directory, own_directory
from frepo.data.sources.walk import DEEPEST, MOST_WAYS
from frepo.spec import Dataset


def mark_of_files(table: Dataset, data_dir: Path) -> str | None:
    """Return a digest of names, sizes and times of the files that `table` is read from; None if they do not exist.

    An equal digest means equal images; a different one does not mean different images. No file is opened.
    """
    if table.name == "digits":
        return _digest([("scikit-learn", version("scikit-learn"))])
    try:
        return _digest(_files(_place(table, data_dir)))
    except OSError:
        return None


def _place(table: Dataset, data_dir: Path) -> Path:
    """Return the folder, or the single file, that holds the data set."""
    if table.path is not None:
        return Path(table.path).expanduser()
    if table.revision is not None:
        return hub_directory(table.name, table.revision, data_dir)
    if comes_from(table.name) == "archive":
        return own_directory(table.name, data_dir) / INDEX
    return data_dir / table.name.partition(":")[0]


def _files(place: Path) -> Iterator[tuple[str, str]]:
    if place.is_dir():
        yield from _below(str(place), "", (), Counter())
    else:
        yield "", _size_and_time(place.stat())


Identity = tuple[int, int]
"""Device and number of a folder."""


def _below(folder: str, name: str, above: tuple[Identity, ...], ways: Counter[Identity]) -> Iterator[tuple[str, str]]:
    """Yield name and mark of each file below a folder; links are followed, but never back to an enclosing folder.

    Raises:
        OSError: folders cannot be read, or lie too deep, or links lead to one in too many ways.
    """
    status = os.stat(folder)  # noqa: PTH116 (this module is about speed: a folder may hold a million files)
    this = status.st_dev, status.st_ino
    if this in above:
        return
    ways[this] += 1
    if len(above) > DEEPEST or ways[this] > MOST_WAYS:
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), folder)
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            inside = f"{name}/{entry.name}"
            if entry.is_dir():
                yield from _below(entry.path, inside, (*above, this), ways)
            else:
                yield inside, _size_and_time(_status(entry))


def _status(entry: "os.DirEntry[str]") -> os.stat_result:
    try:
        return entry.stat()
    except OSError:  # a broken link
        return entry.stat(follow_symlinks=False)


def _size_and_time(status: os.stat_result) -> str:
    return f"{status.st_size} {status.st_mtime_ns}"


def _digest(facts: Iterator[tuple[str, str]] | list[tuple[str, str]]) -> str:
    digest = hashlib.sha256()
    for name, fact in facts:
        digest.update(os.fsencode(name) + f"\0{fact}\n".encode())
    return digest.hexdigest()

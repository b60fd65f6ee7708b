"""Whether a directory of runs looks as it did, at the price of a look at each file: none is opened."""

import os
from pathlib import Path

import frepo
from frepo.store.rows import digest_of


def look(directory: Path, origin: str) -> str | None:
    """Return what changes with any file of the runs or of their stages, or None where it cannot be seen.

    A file is another where its size, its time or its inode is. `origin` is the directory of runs: rows say it.
    """
    try:
        seen = [_files(directory), *(_files(entry.path) for entry in _sorted(directory) if entry.is_dir())]
    except OSError:
        return None
    return digest_of(repr((frepo.__version__, origin, seen)).encode("utf-8", "surrogateescape"))


def _files(directory: Path | str) -> list[tuple[str, int, int, int]]:
    found = ((entry.name, entry.stat()) for entry in _sorted(directory) if entry.is_file())
    return [(name, at.st_size, at.st_mtime_ns, at.st_ino) for name, at in found]


def _sorted(directory: Path | str) -> list[os.DirEntry[str]]:
    with os.scandir(directory) as entries:
        return sorted(entries, key=lambda entry: entry.name)

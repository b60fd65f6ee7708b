"""Content of image folders: files, ignored entries, and entries that cannot be used."""

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from frepo.errors import FrepoError

JPEG = (".jpg", ".jpeg", ".jfif", ".jpe")
SUFFIXES = (".png", *JPEG, ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm")
LEFT_BY_SYSTEMS = ("__MACOSX", "Thumbs.db", "desktop.ini")
SHOWN = 3
DEEPEST = 100
"""Folders in each other."""
MOST_WAYS = 100
"""In which one folder is reached."""

Problem = tuple[str, Path]
"""A problem and its path; the same words for all problems of one kind."""


@dataclass(frozen=True)
class Found:
    """Content of a folder, each list sorted; a link counts as its target."""

    folders: list[Path] = field(default_factory=list[Path])
    files: list[Path] = field(default_factory=list[Path])
    hidden: list[Path] = field(default_factory=list[Path])
    """Hidden files and folders (their name starts with a dot), and those that operating systems leave behind."""
    problems: list[Problem] = field(default_factory=list[Problem])
    """Broken and circular links, unreadable entries, and entries that are neither file nor folder."""


def is_hidden(name: str) -> bool:
    """Return whether a file or folder of this name is ignored."""
    return name.startswith(".") or name in LEFT_BY_SYSTEMS


def is_image(file: Path) -> bool:
    """Return whether `file` has the suffix of an image."""
    return file.suffix.lower() in SUFFIXES


def entries(folder: Path) -> Found:
    """Return the direct content of `folder`."""
    found = Found()
    try:
        with os.scandir(folder) as content:
            everything = sorted(content, key=lambda entry: entry.name)
    except OSError as error:
        found.problems.append((f"cannot be read ({error.strerror})", folder))
        return found
    for entry in everything:
        path = folder / entry.name
        if is_hidden(entry.name):
            found.hidden.append(path)
        elif isinstance(kind := _kind(entry), str):
            found.problems.append((kind, path))
        else:
            (found.folders if kind else found.files).append(path)
    return found


def _kind(entry: os.DirEntry[str]) -> bool | str:
    """Return whether an entry is a folder, or the reason why it is neither folder nor file."""
    try:
        if entry.is_dir() or entry.is_file():
            return entry.is_dir()
        return "a link that leads nowhere" if entry.is_symlink() else "neither a file nor a folder"
    except OSError as error:
        return f"cannot be read ({error.strerror})"


def below(folder: Path, above: tuple[Path, ...] = (), ways: Counter[Path] | None = None) -> Found:
    """Return the files at any depth below `folder`, without those in hidden folders; no folders are returned.

    `ways` counts how often each folder was reached: links can lead to a few of them in more ways than ever end.
    """
    found = entries(folder)
    chain = (*above, folder.resolve())
    ways = Counter() if ways is None else ways
    parts = [Found(files=found.files, hidden=found.hidden, problems=found.problems)]
    for inner in found.folders:
        real = inner.resolve()
        ways[real] += 1
        if any(real == outer or real in outer.parents for outer in chain):
            parts.append(Found(problems=[("a link to a folder that it lies in", inner)]))
        elif ways[real] > MOST_WAYS:
            parts.append(Found(problems=[(f"a folder that links lead to in more than {MOST_WAYS} ways", inner)]))
        elif len(chain) > DEEPEST:
            parts.append(Found(problems=[(f"a folder more than {DEEPEST} folders deep", inner)]))
        else:
            parts.append(below(inner, chain, ways))
    return Found(
        files=sorted(file for part in parts for file in part.files),
        hidden=[path for part in parts for path in part.hidden],
        problems=[problem for part in parts for problem in part.problems],
    )


def refuse(where: Path, problems: Iterable[Problem]) -> None:
    """Raise an error if there are problems.

    Raises:
        FrepoError: there are problems; the message counts them and shows the first of each kind.
    """
    lines = described(problems)
    if lines:
        raise FrepoError("\n  ".join([f"{where} has unusable entries; repair, move or remove them:", *lines]))


def described(problems: Iterable[Problem]) -> list[str]:
    """Return a line for each kind of problem."""
    kinds: dict[str, list[Path]] = {}
    for kind, path in problems:
        kinds.setdefault(kind, []).append(path)
    return [f"{kind}: {listed(paths)}" for kind, paths in kinds.items()]


def listed(things: list[Path]) -> str:
    """Return the first few of `things`, and the number of the others."""
    more = f" and {len(things) - SHOWN:,} more" if len(things) > SHOWN else ""
    return ", ".join(map(str, things[:SHOWN])) + more


def one_error(errors: list[FrepoError]) -> FrepoError:
    """Return one error for one or more unusable images: it shows the first few."""
    if len(errors) == 1:
        return errors[0]
    more = [f"and {len(errors) - SHOWN:,} more"] if len(errors) > SHOWN else []
    return FrepoError("\n  ".join([f"{len(errors):,} images cannot be used:", *map(str, errors[:SHOWN]), *more]))

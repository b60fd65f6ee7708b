"""What lies in folders of images: files, what is passed over, and what cannot be used."""

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from frepo.errors import FrepoError

JPEG = (".jpg", ".jpeg", ".jfif", ".jpe")
SUFFIXES = (".png", *JPEG, ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm")
LEFT_BY_SYSTEMS = ("__MACOSX", "Thumbs.db", "desktop.ini")
SHOWN = 3

Problem = tuple[str, Path]
"""What is wrong with a path, the same words for all of one kind."""


@dataclass(frozen=True)
class Found:
    """What a folder holds, each sorted; a link counts as what it leads to."""

    folders: list[Path] = field(default_factory=list[Path])
    files: list[Path] = field(default_factory=list[Path])
    hidden: list[Path] = field(default_factory=list[Path])
    """Files and folders whose name starts with a dot, and those that operating systems leave behind."""
    problems: list[Problem] = field(default_factory=list[Problem])
    """Links that lead nowhere or in a circle, what cannot be read, and what is neither file nor folder."""


def is_hidden(name: str) -> bool:
    """Return whether a file or folder of this name is passed over."""
    return name.startswith(".") or name in LEFT_BY_SYSTEMS


def is_image(file: Path) -> bool:
    """Return whether the name of `file` is that of an image."""
    return file.suffix.lower() in SUFFIXES


def entries(folder: Path) -> Found:
    """Return what lies directly in `folder`."""
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
    """Return whether it is a folder, or why it is neither that nor a file."""
    try:
        if entry.is_dir() or entry.is_file():
            return entry.is_dir()
        return "a link that leads nowhere" if entry.is_symlink() else "neither a file nor a folder"
    except OSError as error:
        return f"cannot be read ({error.strerror})"


def below(folder: Path, above: tuple[Path, ...] = ()) -> Found:
    """Return the files at any depth below `folder`; what is hidden is not entered. No folders are returned."""
    found = entries(folder)
    chain = (*above, folder.resolve())
    parts = [Found(files=found.files, hidden=found.hidden, problems=found.problems)]
    for inner in found.folders:
        real = inner.resolve()
        if any(real == outer or real in outer.parents for outer in chain):
            parts.append(Found(problems=[("a link to a folder that it lies in", inner)]))
        else:
            parts.append(below(inner, chain))
    return Found(
        files=sorted(file for part in parts for file in part.files),
        hidden=[path for part in parts for path in part.hidden],
        problems=[problem for part in parts for problem in part.problems],
    )


def refuse(where: Path, problems: Iterable[Problem]) -> None:
    """Leave where there are problems.

    Raises:
        FrepoError: there are; it counts them and shows the first of each kind.
    """
    lines = described(problems)
    if lines:
        raise FrepoError("\n  ".join([f"{where} has what cannot be used; repair it, move it or remove it:", *lines]))


def described(problems: Iterable[Problem]) -> list[str]:
    """Return a line for each kind of problem."""
    kinds: dict[str, list[Path]] = {}
    for kind, path in problems:
        kinds.setdefault(kind, []).append(path)
    return [f"{kind}: {listed(paths)}" for kind, paths in kinds.items()]


def listed(things: list[Path]) -> str:
    """Return the first few of `things`, and how many more there are."""
    more = f" and {len(things) - SHOWN:,} more" if len(things) > SHOWN else ""
    return ", ".join(map(str, things[:SHOWN])) + more


def one_error(errors: list[FrepoError]) -> FrepoError:
    """Return one error for images that cannot be used, of which there is at least one: it shows the first few."""
    if len(errors) == 1:
        return errors[0]
    more = [f"and {len(errors) - SHOWN:,} more"] if len(errors) > SHOWN else []
    return FrepoError("\n  ".join([f"{len(errors):,} images cannot be used:", *map(str, errors[:SHOWN]), *more]))

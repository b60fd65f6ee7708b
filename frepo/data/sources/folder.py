"""Folders of image files, one folder for each class.

Used: the images at any depth below the folder of a class; links are followed.
Ignored, with a message: hidden files and folders (their name starts with a dot), files that operating systems leave
behind, files beside the folders of classes that are not images, and everything beside the folders of splits.
Everything else is an error: a broken link, a file among the images that is not an image, an image outside the folders
of classes, a class without images.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from frepo.data.pixels import GRAY_MODES, read_header, read_pixels
from frepo.data.sources.layout import Layout, find_layout, holds_splits
from frepo.data.sources.source import Examples, Source
from frepo.data.sources.walk import (
    SUFFIXES,
    Problem,
    below,
    described,
    entries,
    is_hidden,
    is_image,
    listed,
    one_error,
    refuse,
)
from frepo.errors import FrepoError
from frepo.progress import note
from frepo.signals import raise_if_stopping

LabelledFile = tuple[Path, int]

OUTSIDE = "an image outside the folders of classes"
UNKNOWN = "a class that has no training images"
EMPTY = "a class that has no images"
UNLABELLED = (OUTSIDE, UNKNOWN, EMPTY)
"""Problems of missing or unlabelled test images: another folder may have them."""


@dataclass(frozen=True)
class Split:
    """Content of the folder of a split."""

    files: list[LabelledFile]
    passed_over: list[Path]
    problems: list[Problem]


def folder_source(path: Path) -> Source:
    """Return the images below `path`: `train/CLASS/...` and `test/CLASS/...` (or `val`), or `CLASS/...` alone.

    Raises:
        FrepoError: the folder does not exist, has another layout, or holds something that cannot be used.
    """
    layout = find_layout(path)
    names = _class_names(layout.train, path)
    train = read_split(layout.train, names)
    test, said = _test_split(layout, names) if layout.tests else (None, [])
    both = [train] if test is None else [train, test]
    refuse(path, [problem for split in both for problem in split.problems])
    passed_over = [*layout.beside, *(place for split in both for place in split.passed_over)]
    if passed_over:
        said = [*said, f"not used: {listed(sorted(passed_over, key=lambda place: is_hidden(place.name)))}"]
    key = [_mark(file) for split in both for file, _ in split.files]
    return files_source(
        "image_folder",
        names,
        train.files,
        None if test is None else test.files,
        [str(path.resolve()), key],
        str(path),
        said,
    )


def _mark(file: Path) -> list[str | int]:
    """Return a mark that changes when the file does."""
    status = file.stat()
    return [str(file), status.st_size, status.st_mtime_ns]


def _class_names(folder: Path, path: Path) -> tuple[str, ...]:
    found = entries(folder)
    strange = [("a name that is not UTF-8", inner) for inner in found.folders if not _is_utf8(inner.name)]
    refuse(folder, [*found.problems, *strange])
    if len(found.folders) >= 2:
        return tuple(inner.name for inner in found.folders)
    has = found.folders[0].name if found.folders else "none"
    images = sum(map(is_image, found.files))
    outside = f", and {images:,} images outside such folders" if images else ""
    advice = ""
    if folder != path:
        advice = f"; where {folder.name}/ is itself a class, put all folders of classes into it"
    elif found.folders and len(entries(found.folders[0]).folders) >= 2:
        advice = f"; is dataset.path = {str(found.folders[0])!r} meant?"
    raise FrepoError(f"{folder} needs a folder for each of at least two classes; it has {has}{outside}{advice}")


def _is_utf8(name: str) -> bool:
    return not any("\udc80" <= character <= "\udcff" for character in name)


def _test_split(layout: Layout, names: Sequence[str]) -> tuple[Split, list[str]]:
    """Return the first split for testing that has labelled images, and messages on the choice."""
    without: list[tuple[Path, list[str]]] = []
    for position, folder in enumerate(layout.tests):
        split = read_split(folder, names)
        if split.files or any(kind not in UNLABELLED for kind, _ in split.problems):
            said = [f"{folder} is used for testing: {other} has no labelled images" for other, _ in without]
            return split, said + [f"{other} is not used: {folder} is" for other in layout.tests[position + 1 :]]
        without.append((folder, described(split.problems) or ["no images"]))
    reasons = [f"{folder} has {line}" for folder, lines in without for line in lines]
    raise FrepoError(
        "\n  ".join(["there are no labelled test images:", *reasons])
        + f"\nSort them into {without[0][0]}/CLASS/, or move the folder away and set dataset.test_fraction = 0.2"
    )


def read_split(folder: Path, names: Sequence[str]) -> Split:
    """Return the images below `folder`, class by class, each with the position of its class folder in `names`."""
    found = entries(folder)
    strange = f"not an image ({', '.join(SUFFIXES)})"
    split = Split([], [*found.hidden, *(file for file in found.files if not is_image(file))], [*found.problems])
    split.problems.extend((OUTSIDE, file) for file in found.files if is_image(file))
    split.problems.extend((UNKNOWN, inner) for inner in found.folders if inner.name not in names)
    there = [
        (names.index(inner.name), inner) for inner in found.folders if inner.name in names
    ]  # maybe not all, in test/
    for label, inner in there:
        if holds_splits(inner):
            split.problems.append(("a class with splits in it; the split comes first: train/CLASS, test/CLASS", inner))
        content = below(inner)
        split.passed_over.extend(content.hidden)
        split.problems.extend(content.problems)
        split.problems.extend((strange, file) for file in content.files if not is_image(file))
        if not content.files and not content.problems:
            split.problems.append((EMPTY, inner))
        split.files.extend((file, label) for file in content.files if is_image(file))
    return split


def files_source(
    name: str,
    class_names: tuple[str, ...],
    train: list[LabelledFile],
    test: list[LabelledFile] | None,
    key: object,
    where: str,
    said: Sequence[str] = (),
) -> Source:
    """Return a source of image files; it has one channel if all of them are grey.

    `said` are messages on the choice of files, printed when they are read.
    """

    @lru_cache(maxsize=1)
    def channels() -> int:
        return 1 if _modes([file for file, _ in [*train, *(test or [])]]) <= set(GRAY_MODES) else 3

    def examples(files: list[LabelledFile]) -> Examples:
        def fetch(indices: list[int]) -> list[LabelledFile]:
            return [files[index] for index in indices]

        def decode(stored: LabelledFile, index: int) -> tuple[np.ndarray, int]:  # noqa: ARG001
            return read_pixels(stored[0], channels()), stored[1]

        labels = np.array([label for _, label in files])
        return Examples(len(files), fetch, decode, lambda index: str(files[index][0]), labels)

    def both() -> tuple[Examples, Examples | None]:
        for line in said:
            note(line)
        channels()  # reads all headers, to find files that are not images at once
        return examples(train), None if test is None else examples(test)

    return Source(name, class_names, key, where, both)


def _modes(files: list[Path]) -> set[str]:
    """Return the pixel modes that occur.

    Raises:
        FrepoError: files are not images; the message counts all of them.
    """
    modes: set[str] = set()
    wrong: list[FrepoError] = []
    for file in files:
        raise_if_stopping()
        try:
            modes.add(read_header(file)[0])
        except FrepoError as error:
            wrong.append(error)
    if wrong:
        raise one_error(wrong)
    return modes

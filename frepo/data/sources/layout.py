"""Folders for training and for testing within an image folder."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from frepo.data.sources.walk import entries, refuse
from frepo.errors import FrepoError

NAMES = {
    "train": ("train", "training", "trainset"),
    "test": ("test", "testing", "testset"),
    "val": ("val", "valid", "validation", "valset", "dev", "eval"),
}
"""Names of the folders of splits, in lower case."""


@dataclass(frozen=True)
class Layout:
    """Locations of the folders of classes."""

    train: Path
    tests: list[Path]
    """Candidate folders for the test images, in order of preference."""
    beside: list[Path]
    """Entries beside the folders of splits that are not splits."""


def split_of(name: str) -> str | None:
    """Return the split that a folder of this name stands for, `train`, `test` or `val`, or None."""
    return next((split for split, names in NAMES.items() if name.lower() in names), None)


def find_layout(path: Path) -> Layout:
    """Return the layout of `path`: `train/CLASS/...` and a folder for testing, or `CLASS/...` alone.

    Raises:
        FrepoError: the folder does not exist, or its splits are ambiguous; the message names them.
    """
    if not path.is_dir():
        raise FrepoError(f"dataset.path: {path} is not a folder")
    found = entries(path)
    refuse(path, found.problems)
    splits = {split: [folder for folder in found.folders if split_of(folder.name) == split] for split in NAMES}
    for split, several in splits.items():
        if len(several) > 1:
            raise FrepoError(f"{path} has {_named(several)}; keep one of them as {split}/")
    tests = splits["test"] + splits["val"]
    if not splits["train"]:
        if tests:
            raise FrepoError(
                f"{path} has {_named(tests)} but no train/; put the folders of the training classes into "
                f"{path / 'train'}"
            )
        _must_not_resemble(path, found.folders, ("train", "test val"))
        return Layout(path, [], [])
    (train,) = splits["train"]
    others = [folder for folder in found.folders if folder not in (train, *tests)]
    if not tests:
        _must_not_resemble(path, others, ("test val",))
    return Layout(train, tests, [*others, *found.files, *found.hidden])


def holds_splits(folder: Path) -> bool:
    """Return whether the folder of a class contains folders for training and for testing."""
    splits = {split_of(inner.name) for inner in entries(folder).folders}
    return "train" in splits and not splits.isdisjoint(("test", "val"))


def _must_not_resemble(path: Path, folders: list[Path], wanted: tuple[str, ...]) -> None:
    """Leave where for each of `wanted` (splits, separated by spaces) a folder's name looks like one, as `test_set`."""
    alike = [[folder for folder in folders if _words(folder) & set(splits.split())] for splits in wanted]
    if all(alike):
        raise FrepoError(
            f"{path} has {_named(folder for group in alike for folder in group)}, which look like splits: call them "
            f"train/ and test/ (or val/), or, where they are classes, put all folders of classes into {path / 'train'}"
        )


def _words(folder: Path) -> set[str | None]:
    return {split_of(word) for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", folder.name)}


def _named(folders: Iterable[Path]) -> str:
    return " and ".join(f"{folder.name}/" for folder in folders)

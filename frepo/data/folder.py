"""Folders of image files, one folder for each class."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from frepo.data.pixels import GRAY_MODES, read_header, read_pixels
from frepo.data.source import Examples, Source
from frepo.errors import FrepoError
from frepo.signals import raise_if_stopping

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm")
TEST_FOLDERS = ("test", "val", "validation")

LabelledFile = tuple[Path, int]


def folder_source(path: Path) -> Source:
    """Return the images below `path`: `train/CLASS/...` and `test/CLASS/...` (or `val`), or `CLASS/...` alone.

    Raises:
        FrepoError: there is no such folder, or it is not laid out like that: a class without images, a file that is no
            image, a class that is only in the test set, fewer than two classes.
    """
    if not path.is_dir():
        raise FrepoError(f"dataset.path: {path} is not a folder")
    test_folder = next((path / name for name in TEST_FOLDERS if (path / name).is_dir()), None)
    train_folder = path / "train" if (path / "train").is_dir() else path
    if test_folder is not None and train_folder is path:
        raise FrepoError(f"{path} has {test_folder.name}/ but no train/; put the training images into {path / 'train'}")
    names = tuple(sorted(folder.name for folder in train_folder.iterdir() if _is_class(folder)))
    if len(names) < 2:
        raise FrepoError(
            f"{train_folder} needs a folder for each of at least two classes; it has {', '.join(names) or 'none'}"
        )
    train = labelled_files(train_folder, names)
    test = None if test_folder is None else labelled_files(test_folder, names)
    key = [[str(file), file.stat().st_size, file.stat().st_mtime_ns] for file, _ in [*train, *(test or [])]]
    return files_source("image_folder", names, train, test, [str(path.resolve()), key], str(path))


def labelled_files(folder: Path, names: Sequence[str]) -> list[LabelledFile]:
    """Return the image files below `folder`, class by class, with the positions of their folders' names in `names`.

    Raises:
        FrepoError: a folder is no class, a class has no image, or a file is none.
    """
    unknown = sorted(entry.name for entry in folder.iterdir() if _is_class(entry) and entry.name not in names)
    if unknown:
        raise FrepoError(f"{folder} has the class {unknown[0]}, which has no training images")
    found: list[LabelledFile] = []
    for label, name in enumerate(names):
        if not (folder / name).is_dir():
            continue  # a test set need not have every class
        files = sorted(file for file in (folder / name).rglob("*") if file.is_file() and not file.name.startswith("."))
        if not files:
            raise FrepoError(f"{folder / name} has no images; add some or remove the folder")
        strange = next((file for file in files if file.suffix.lower() not in SUFFIXES), None)
        if strange is not None:
            raise FrepoError(f"{strange} is not an image ({', '.join(SUFFIXES)}); remove it")
        found += [(file, label) for file in files]
    return found


def files_source(
    name: str,
    class_names: tuple[str, ...],
    train: list[LabelledFile],
    test: list[LabelledFile] | None,
    key: object,
    where: str,
) -> Source:
    """Return a source of image files; it has one channel where all of them are grey."""

    @lru_cache(maxsize=1)
    def channels() -> int:
        modes = {_mode(file) for file, _ in [*train, *(test or [])]}
        return 1 if modes <= set(GRAY_MODES) else 3

    def examples(files: list[LabelledFile]) -> Examples:
        def fetch(indices: list[int]) -> list[LabelledFile]:
            return [files[index] for index in indices]

        def decode(stored: LabelledFile, index: int) -> tuple[np.ndarray, int]:  # noqa: ARG001
            return read_pixels(stored[0], channels()), stored[1]

        labels = np.array([label for _, label in files])
        return Examples(len(files), fetch, decode, lambda index: str(files[index][0]), labels)

    def both() -> tuple[Examples, Examples | None]:
        channels()  # reads all headers, so that a file that is no image is found at once
        return examples(train), None if test is None else examples(test)

    return Source(name, class_names, key, where, both)


def _mode(file: Path) -> str:
    raise_if_stopping()
    return read_header(file)[0]


def _is_class(entry: Path) -> bool:
    return entry.is_dir() and not entry.name.startswith(".")

"""Data sets that are prepared from their publishers' archives: Tiny ImageNet, Imagenette and Imagewoof.

A prepared data set is a folder of image files by class, and an index that is written last.
"""

import json
import shutil
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from frepo.data.fetch.publishers import ARCHIVES, PUBLISHED
from frepo.data.pixels import read_pixels, silent_pillow
from frepo.data.sources.folder import files_source
from frepo.data.sources.known import warn_of_counts
from frepo.data.sources.places import INDEX, index_content, not_there, own_directory
from frepo.data.sources.source import Source
from frepo.data.sources.unpack import unpack
from frepo.data.sources.walk import below, is_hidden, is_image, one_error, refuse
from frepo.errors import FrepoError, Interrupted
from frepo.progress import note
from frepo.reading import is_inside
from frepo.rundir.files import directory_written_atomically, rename_damaged, scratch_beside, sha256_of_file
from frepo.signals import raise_if_stopping

Image = tuple[str, str, Path]
"""Split, class (WordNet id) and file of an image."""

WORDS = {
    "imagenette": {
        "n01440764": "tench",
        "n02102040": "English springer",
        "n02979186": "cassette player",
        "n03000684": "chain saw",
        "n03028079": "church",
        "n03394916": "French horn",
        "n03417042": "garbage truck",
        "n03425413": "gas pump",
        "n03445777": "golf ball",
        "n03888257": "parachute",
    },
    "imagewoof": {
        "n02086240": "Shih-Tzu",
        "n02087394": "Rhodesian ridgeback",
        "n02088364": "beagle",
        "n02089973": "English foxhound",
        "n02093754": "Border terrier",
        "n02096294": "Australian terrier",
        "n02099601": "golden retriever",
        "n02105641": "Old English sheepdog",
        "n02111889": "Samoyed",
        "n02115641": "dingo",
    },
}


def own_source(name: str, data_dir: Path) -> Source:
    """Return the prepared data set `name`.

    Raises:
        FrepoError: it is not prepared, or its index is damaged.
    """
    directory = own_directory(name, data_dir)
    index = directory / INDEX
    if not index.is_file():
        raise FrepoError(
            f"{not_there(name, data_dir)} Get {ARCHIVES[name]}, then: frepo data prepare {name} --from ARCHIVE"
            + (f"; or let frepo fetch it: frepo data prepare {name}" if name in PUBLISHED else "")
        )
    try:
        content = index_content(directory)
        names = tuple(str(entry) for entry in content["class_names"])
        train, test = (
            [(directory / _inside(file), int(label)) for file, label in content[split]] for split in ("train", "test")
        )
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        aside = rename_damaged(directory)
        raise FrepoError(
            f"{index} is damaged ({error}); {directory} is set aside as {aside.name}: prepare '{name}' again"
        ) from None
    return files_source(name, names, train, test, sha256_of_file(index), str(directory))


def _inside(path: Any) -> str:
    if not isinstance(path, str) or not is_inside(path):
        raise ValueError(f"{str(path)[:100]!a} is no path inside of its directory")
    return path


@silent_pillow()
def prepare_own(name: str, origin: Path, data_dir: Path) -> Path:
    """Copy the images of `origin`, the archive of data set `name` or its unpacked folder, and return their directory.

    Each image is decoded once. A failed or stopped attempt leaves nothing.

    Raises:
        FrepoError: `origin` is not such an archive or folder, or an image is damaged.
        Interrupted: a signal came.
    """
    directory = own_directory(name, data_dir)
    with directory_written_atomically(directory) as temporary, scratch_beside(directory) as scratch:
        root = origin if origin.is_dir() else unpack(origin, scratch)
        try:
            layout, words = _layout(name, root)
            _copy(name, sorted(layout(root)), words, temporary)
        except Interrupted:
            raise
        except FrepoError as error:  # of an archive, the scratch folder says nothing to anybody
            raise FrepoError(str(error).replace(str(root), str(origin))) from None
    return directory


def _layout(name: str, root: Path) -> tuple[Callable[[Path], Iterator[Image]], dict[str, str]]:
    """Return a function that finds the images of data set `name`, and the names of its classes."""
    if name != "tiny_imagenet":
        return _by_class, WORDS[name]
    words = next(_visible(root, "words.txt"), None)
    if words is None:
        raise FrepoError(f"{root} has no words.txt; Tiny ImageNet's archive has one beside train/ and val/")
    lines = (line.split("\t", 1) for line in words.read_text().splitlines() if "\t" in line)
    return _tiny_imagenet, {wnid: text.strip() for wnid, text in lines}


def _by_class(root: Path) -> Iterator[Image]:
    """Find images in train/CLASS/ and val/CLASS/, anywhere below `root`."""
    base = _base(root)
    return chain(_classes(base / "train", "train"), _classes(base / "val", "test"))


def _classes(folder: Path, split: str) -> Iterator[Image]:
    return ((split, file.relative_to(folder).parts[0], file) for file in _images(folder))


def _tiny_imagenet(root: Path) -> Iterator[Image]:
    """Find images in train/CLASS/images/ and val/images/, the classes of the latter in val/val_annotations.txt.

    If val/ is already sorted into folders of classes, as is common, the folders give the classes.
    """
    base = _base(root)
    yield from _classes(base / "train", "train")
    if not _images(base / "val" / "images"):
        yield from _classes(base / "val", "test")
        return
    annotations = base / "val" / "val_annotations.txt"
    if not annotations.is_file():
        raise FrepoError(f"{annotations} is missing; it names the classes of the images in val/images")
    for number, line in enumerate(annotations.read_text().splitlines(), start=1):
        parts = line.split("\t")
        if len(parts) < 2:
            raise FrepoError(f"{annotations}:{number}: expected a file and a class, separated by tabs")
        file = base / "val" / "images" / Path(parts[0]).name
        if not file.is_file():
            raise FrepoError(f"{annotations}:{number}: there is no {file}")
        yield "test", parts[1], file


def _base(root: Path) -> Path:
    base = next((path.parent for path in _visible(root, "train") if (path.parent / "val").is_dir()), None)
    if base is None:
        raise FrepoError(f"{root} has no folders train/ and val/ beside each other")
    return base


def _visible(root: Path, name: str) -> Iterator[Path]:
    """Find entries called `name` below `root`, except in hidden folders and in the __MACOSX of Mac archives."""
    found = sorted(root.rglob(name))
    return (path for path in found if not any(map(is_hidden, path.relative_to(root).parts)))


def _images(folder: Path) -> list[Path]:
    """Return the images at any depth below `folder`, or an empty list if it does not exist."""
    if not folder.is_dir():
        return []
    found = below(folder)
    refuse(folder, found.problems)
    return [file for file in found.files if is_image(file)]


def _copy(name: str, found: list[Image], words: dict[str, str], directory: Path) -> None:
    """Copy images into `directory`, and write their index.

    Raises:
        FrepoError: a class does not belong to the data set, two files have one name, or images are damaged.
        Interrupted: a signal came.
    """
    classes = sorted({wnid for split, wnid, _ in found if split == "train"})
    strange = next((wnid for _, wnid, _ in found if wnid not in classes or wnid not in words), None)
    if strange is not None:
        raise FrepoError(f"the class {strange} is not one of {name}, or has no training images")
    if len(classes) < 2 or not any(split == "test" for split, _, _ in found):
        raise FrepoError(f"{name} needs images of at least two classes for training, and images for testing")
    note(f"copying {len(found):,} images of {len(classes)} classes")
    index: dict[str, list[tuple[str, int]]] = {"train": [], "test": []}
    wrong: list[FrepoError] = []
    for split, wnid, file in found:
        raise_if_stopping()
        try:
            read_pixels(file, 3)  # to find damaged files now
        except FrepoError as error:
            wrong.append(error)
        relative = Path(split, wnid, file.name)
        (directory / relative).parent.mkdir(parents=True, exist_ok=True)
        if (directory / relative).exists():
            raise FrepoError(f"{file.name} of the class {wnid} occurs twice, the second time as {file}; remove one")
        shutil.copyfile(file, directory / relative)
        index[split].append((str(relative), classes.index(wnid)))
    if wrong:
        raise one_error(wrong)
    warn_of_counts(name, len(index["train"]), len(index["test"]))
    content = {"class_names": [words[wnid] for wnid in classes], **index}
    (directory / INDEX).write_text(json.dumps(content))

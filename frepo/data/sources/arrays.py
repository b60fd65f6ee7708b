"""Data sets that are prepared as arrays, from their publishers' files.

Order of the images: by the SHA-256 of their pixels, equal images by label. So it is the same from whichever source the
files came (an archive, its pickled sister and a parquet file of the same images differ in it).
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from frepo.data.dataset import RawSplits
from frepo.data.sources.known import warn_of_counts
from frepo.data.sources.places import INDEX, index_content, must_be_readable, not_there, own_directory
from frepo.data.sources.source import Examples, Source
from frepo.errors import FrepoError
from frepo.rundir.files import directory_written_atomically, rename_damaged, sha256_of_file

ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")


def arrays_source(name: str, data_dir: Path) -> Source:
    """Return the prepared data set `name`.

    Raises:
        FrepoError: it is not prepared, or damaged.
    """
    advice = f"To fetch and prepare it, once: frepo data prepare {name}          # --data-dir DIR for another place"
    must_be_readable(data_dir, advice)
    directory = own_directory(name, data_dir)
    index = directory / INDEX
    if not index.is_file():
        raise FrepoError(f"{not_there(name, data_dir)}\n{advice}")
    try:
        content = index_content(directory)
        names, digests = tuple(map(str, content["class_names"])), dict(content["sha256"])
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(directory, f"{INDEX}: {error}") from None

    def both() -> tuple[Examples, Examples]:
        arrays = {array: _read(directory, array, digests.get(array)) for array in ARRAYS}
        for split in ("train", "test"):
            images, labels = arrays[f"{split}_images"], arrays[f"{split}_labels"]
            if images.ndim != 4 or labels.shape != images.shape[:1] or labels.dtype.kind not in "iu":
                raise _damaged(directory, f"{split}_images and {split}_labels do not fit together")
        return _examples(name, arrays, "train"), _examples(name, arrays, "test")

    return Source(name, names, sha256_of_file(index), str(directory), both)


def _read(directory: Path, name: str, digest: object) -> np.ndarray:
    path = directory / f"{name}.npy"
    if not path.is_file() or sha256_of_file(path) != digest:
        raise _damaged(directory, f"{path.name} differs from what was written")
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # NumPy raises many kinds for bytes that are not its own
        raise _damaged(directory, f"{path.name} is no array: {error}") from None


def _damaged(directory: Path, reason: str) -> FrepoError:
    aside = rename_damaged(directory)
    return FrepoError(
        f"{directory} is damaged ({reason}) and set aside as {aside.name}: the same command again prepares it anew, "
        "unless --offline forbids it"
    )


def _examples(name: str, arrays: dict[str, np.ndarray], split: str) -> Examples:
    images, labels = arrays[f"{split}_images"], np.asarray(arrays[f"{split}_labels"])

    def fetch(indices: list[int]) -> list[np.ndarray]:
        return list(images[indices])

    def decode(stored: Any, index: int) -> tuple[np.ndarray, int]:
        return stored, int(labels[index])

    return Examples(len(labels), fetch, decode, lambda index: f"example {index} of {split} of {name}", labels)


def write_arrays(name: str, raw: RawSplits, data_dir: Path) -> Path:
    """Write the data set `name` in its order, and return its directory, which is there whole or not at all.

    Warns if the numbers of images differ from the published ones.

    Raises:
        OSError: the disk is full.
    """
    directory = own_directory(name, data_dir)
    with directory_written_atomically(directory) as temporary:
        digests: dict[str, str] = {}
        warn_of_counts(name, len(raw.train_labels), len(raw.test_labels))
        for split in ("train", "test"):
            images, labels = getattr(raw, f"{split}_images"), getattr(raw, f"{split}_labels")
            order = _order(images, labels)
            for array, values in ((f"{split}_images", images[order]), (f"{split}_labels", labels[order])):
                np.save(temporary / f"{array}.npy", values, allow_pickle=False)
                digests[array] = sha256_of_file(temporary / f"{array}.npy")
        (temporary / INDEX).write_text(json.dumps({"class_names": raw.class_names, "sha256": digests}))
    return directory


def _order(images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return positions in the order of the SHA-256 of the pixels, then of the labels, int64 [n]."""
    keys = [
        (hashlib.sha256(np.ascontiguousarray(image).data).digest(), int(label))
        for image, label in zip(images, labels, strict=True)
    ]
    return np.array(sorted(range(len(keys)), key=keys.__getitem__), np.int64)

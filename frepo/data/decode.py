"""From stored examples to arrays of one size, in bounded memory."""

import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from frepo.data.cache import NewEntry
from frepo.data.dataset import RawSplits
from frepo.data.pixels import fit
from frepo.data.source import Examples, Source
from frepo.errors import FrepoError
from frepo.signals import raise_if_stopping

ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")
AT_ONCE = 256


def decode(source: Source, resolution: int | None, test_fraction: float | None, entry: NewEntry) -> RawSplits:
    """Write the four arrays of a data set into a cache entry and return them.

    Images are cut to their middle square and resized to `resolution`; without it they have to be of one size. Where the
    source has no images for testing, `test_fraction` of each class is split off.

    Raises:
        FrepoError: an image is damaged, of another size or too small, a class is empty, or it is not clear what the
            test set is.
        OSError: the disk is full.
    """
    train, test = source.open()
    if test is None and test_fraction is None:
        raise FrepoError(f"{source.where} has no test/ or val/; set dataset.test_fraction = 0.2 to split one off")
    if test is not None and test_fraction is not None:
        raise FrepoError(f"{source.where} has images for testing already: remove dataset.test_fraction")
    if test is not None:
        splits = [(train, np.arange(train.count)), (test, np.arange(test.count))]
    else:
        assert test_fraction is not None
        assert train.labels is not None
        held_out = share_of_each_class(train.labels, test_fraction)
        splits = [(train, np.setdiff1d(np.arange(train.count), held_out)), (train, held_out)]
    first = _fitted(train, 0, resolution)[0]
    arrays: dict[str, np.ndarray] = {}
    for name, (examples, chosen) in zip(("train", "test"), splits, strict=True):
        images = entry.create(f"{name}_images", (len(chosen), *first.shape), np.uint8)
        labels = entry.create(f"{name}_labels", (len(chosen),), np.int32)
        for position, (pixels, label) in enumerate(_read_all(examples, chosen, resolution)):
            if pixels.shape != first.shape:
                raise FrepoError(
                    f"{source.name} has images of different sizes: {_size(first)} and {_size(pixels)} "
                    f"({examples.describe(int(chosen[position]))}); set dataset.resolution to bring them to one"
                )
            images[position], labels[position] = pixels, label
        missing = np.setdiff1d(np.arange(len(source.class_names)), labels)
        if name == "train" and len(missing):
            raise FrepoError(f"{source.name}: the class {source.class_names[missing[0]]} has no training images")
        arrays |= {f"{name}_images": images, f"{name}_labels": labels}
    return RawSplits(**arrays, class_names=source.class_names)


def share_of_each_class(labels: np.ndarray, share: float) -> np.ndarray:
    """Return sorted positions of a share of each class, at least one image and not all, the same ones at every call."""
    chosen = []
    for label in np.unique(labels):
        members = np.random.default_rng([int(label), len(labels)]).permutation(np.flatnonzero(labels == label))
        chosen.append(members[: share_of(len(members), share)])
    return np.sort(np.concatenate(chosen))


def share_of(count: int, share: float) -> int:
    """Return how many of `count` images a share of them is, at least one and not all where there are several."""
    return min(max(1, round(share * count)), max(1, count - 1))


def pixel_fingerprint(raw: RawSplits) -> str:
    """Return the SHA-256 over pixels, labels and class names."""
    digest = hashlib.sha256(repr(raw.class_names).encode())
    for field in ARRAYS:
        array = getattr(raw, field)
        digest.update(f"{field} {array.dtype} {array.shape}".encode())
        for start in range(0, len(array), 10_000):
            digest.update(np.ascontiguousarray(array[start : start + 10_000]).data)
    return digest.hexdigest()


def _read_all(examples: Examples, chosen: np.ndarray, resolution: int | None) -> Iterator[tuple[np.ndarray, int]]:
    with ThreadPoolExecutor(os.cpu_count() if examples.parallel else 1) as pool:
        for start in range(0, len(chosen), AT_ONCE):
            raise_if_stopping()
            yield from pool.map(
                lambda index: _fitted(examples, int(index), resolution), chosen[start : start + AT_ONCE]
            )


def _fitted(examples: Examples, index: int, resolution: int | None) -> tuple[np.ndarray, int]:
    pixels, label = examples.read(index)
    return (pixels if resolution is None else fit(pixels, resolution, examples.describe(index))), label


def _size(pixels: np.ndarray) -> str:
    return "x".join(map(str, pixels.shape))

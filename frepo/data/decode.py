"""From stored examples to arrays of one size, in bounded memory."""

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from frepo.data.cache import NewEntry
from frepo.data.dataset import RawSplits
from frepo.data.pixels import fit, silent_pillow
from frepo.data.sources.source import Examples, Source
from frepo.data.sources.walk import SHOWN, one_error
from frepo.errors import FrepoError
from frepo.plan.identity import fingerprint
from frepo.signals import raise_if_stopping

MOST_PIXELS = 2**27
"""Bytes of decoded images that are held together, or one image."""


@silent_pillow()
def decode(source: Source, resolution: int | None, test_fraction: float | None, entry: NewEntry) -> str:
    """Write the four arrays of a data set into a cache entry and return their fingerprint.

    Images are cut to their middle square and resized to `resolution`; without it they must all have one size. If the
    source has no test images, `test_fraction` of each class is split off. All stored images pass through here, so this
    checks the splits, labels and pixels of every source for the properties that the rest of the program assumes.

    Raises:
        FrepoError: an image is damaged, of another size or too small, or its pixels are not 8-bit; a split is empty or
            has labels out of range; a class is empty; or the test set is ambiguous.
        OSError: the disk is full.
    """
    splits = _splits(source, test_fraction)
    for name, (examples, chosen) in splits.items():
        _labels_must_be_classes(
            source, name, examples, chosen, None if examples.labels is None else examples.labels[chosen]
        )
    examples, chosen = splits["train"]
    first = _read(examples, chosen[:1].tolist(), resolution, None, map)[0]
    # where that is an error, the loop raises one for all of them
    shape = None if isinstance(first, FrepoError) else first[0].shape
    digests: list[str] = []
    for name, (examples, chosen) in splits.items():
        labels = np.empty(len(chosen), np.int64)
        with entry.writing(f"{name}_images", (len(chosen), *(shape or ())), np.uint8) as writer:
            for start, part in _read_all(source, examples, chosen, resolution, shape):
                for position, (pixels, label) in enumerate(part, start):
                    labels[position] = label
                    writer.append(pixels)
        _labels_must_be_classes(source, name, examples, chosen, labels)
        digests += [writer.digest, entry.store(f"{name}_labels", labels.astype(np.int32))]
    return fingerprint([list(source.class_names), list(shape or ()), digests])


Splits = dict[str, tuple[Examples, np.ndarray]]
"""Examples and chosen positions for `train` and `test`."""


def _splits(source: Source, test_fraction: float | None) -> Splits:
    train, test = source.open()
    if test is not None and test_fraction is not None:
        raise FrepoError(f"{source.where} has test images already: remove dataset.test_fraction")
    if test is not None:
        return {"train": (train, np.arange(train.count)), "test": (test, np.arange(test.count))}
    if test_fraction is None:
        raise FrepoError(f"{source.where} has no test/ or val/; set dataset.test_fraction = 0.2 to split one off")
    assert train.labels is not None
    held_out = share_of_each_class(train.labels, test_fraction)
    return {"train": (train, np.setdiff1d(np.arange(train.count), held_out)), "test": (train, held_out)}


def _labels_must_be_classes(
    source: Source, split: str, examples: Examples, chosen: np.ndarray, labels: np.ndarray | None
) -> None:
    """Refuse a split without images, or with labels, int [n] where they are known, out of range."""
    purpose = "training" if split == "train" else "testing"
    if len(chosen) == 0:
        raise FrepoError(f"{source.where} has no images for {purpose}: the split is empty")
    if labels is None:
        return
    last = len(source.class_names) - 1
    wrong = np.flatnonzero((labels < 0) | (labels > last))
    if len(wrong):
        shown = [f"{labels[place]} of {examples.describe(int(chosen[place]))}" for place in wrong[:SHOWN]]
        raise FrepoError(
            f"{source.where}: {len(wrong):,} of {len(labels):,} images for {purpose} have labels outside 0 to {last}"
            f" ({_first(shown, len(wrong))}); -1 often stands for unpublished labels. Use data with labels"
        )
    missing = np.setdiff1d(np.arange(last + 1), labels)
    if split == "train" and len(missing):
        names = [source.class_names[label] for label in missing[:SHOWN]]
        raise FrepoError(
            f"{source.where}: {len(missing)} of {last + 1} classes have no training images: "
            f"{_first(names, len(missing))}"
        )


def _first(shown: Sequence[str], count: int) -> str:
    return ", ".join(shown) + (", ..." if count > len(shown) else "")


def share_of_each_class(labels: np.ndarray, share: float) -> np.ndarray:
    """Return sorted positions of a fraction of each class, at least one image and not all, the same in every call."""
    chosen = []
    for label in np.unique(labels):
        members = np.random.default_rng([int(label), len(labels)]).permutation(np.flatnonzero(labels == label))
        chosen.append(members[: share_of(len(members), share)])
    return np.sort(np.concatenate(chosen))


def share_of(count: int, share: float) -> int:
    """Return the number of images in a fraction of `count`, at least one and not all if there are several."""
    return min(max(1, round(share * count)), max(1, count - 1))


def pixel_fingerprint(raw: RawSplits) -> str:
    """Return the fingerprint of class names, pixels and labels, as `decode` computes it."""
    arrays = (raw.train_images, raw.train_labels, raw.test_images, raw.test_labels)
    digests = [hashlib.sha256(np.ascontiguousarray(array).data).hexdigest() for array in arrays]
    return fingerprint([list(raw.class_names), list(raw.train_images.shape[1:]), digests])


Shape = tuple[int, ...]


class _OtherSizeError(FrepoError):
    """An image has not the size of the first."""


def _read_all(
    source: Source, examples: Examples, chosen: np.ndarray, resolution: int | None, shape: Shape | None
) -> Iterator[tuple[int, list[tuple[np.ndarray, int]]]]:
    """Yield batches of examples, their images all of one `shape`: position of the first, pixels and label of each.

    Raises:
        FrepoError: examples are of another size; or they are damaged or too small, raised after all others were read,
            with a count.
    """
    wrong: list[FrepoError] = []
    at_once = max(1, min(examples.at_once, MOST_PIXELS // math.prod(shape or (1,))))
    with ThreadPoolExecutor() as pool:
        for start in range(0, len(chosen), at_once):
            raise_if_stopping()
            places = chosen[start : start + at_once].tolist()
            part = _read(examples, places, resolution, shape, pool.map, keep=shape is not None)
            wrong += [read for read in part if isinstance(read, FrepoError)]
            if wrong and isinstance(wrong[0], _OtherSizeError):
                raise FrepoError(f"{source.name} {wrong[0]}")
            if not wrong:
                yield start, [read for read in part if not isinstance(read, FrepoError)]
    if wrong:
        raise one_error([error for error in wrong if not isinstance(error, _OtherSizeError)])


def _read(
    examples: Examples,
    indices: list[int],
    resolution: int | None,
    shape: Shape | None,
    parallel_map: Callable[..., Iterable[Any]],
    *,
    keep: bool = True,
) -> list[tuple[np.ndarray, int] | FrepoError]:
    """Return pixels and label of each example, or its error; images of another `shape` than is given are not kept.

    Without `keep` no pixels are.
    """

    def decoded(stored: Any, index: int) -> tuple[np.ndarray, int] | FrepoError:
        try:
            pixels, label = examples.decode(stored, index)
            if pixels.dtype != np.uint8:
                raise FrepoError(f"{examples.describe(index)} has {pixels.dtype} pixels; frepo needs 8-bit pixels")
            if resolution is not None:
                pixels = fit(pixels, resolution, examples.describe(index))
        except FrepoError as error:
            return error
        if shape is not None and pixels.shape != shape:
            return _OtherSizeError(
                f"has images of different sizes: {_size(shape)} and {_size(pixels.shape)} "
                f"({examples.describe(index)}); set dataset.resolution to bring them to one"
            )
        return pixels if keep else pixels[:0].copy(), label

    return list(parallel_map(decoded, examples.fetch(indices), indices))


def _size(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))

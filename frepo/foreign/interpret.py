"""Arrays of a stranger's distilled data to images and labels that fit a data set."""

from dataclasses import dataclass

import numpy as np

from frepo.errors import FrepoError
from frepo.foreign.read import Foreign

SUM_TOLERANCE = 0.01
"""How far probabilities may be from a sum of one: half-precision ones are not nearer."""
PIXEL_TOLERANCE = 0.001
"""How far pixels may be outside of 0..1: undoing a standardisation does not give the ends exactly."""


@dataclass(frozen=True)
class Interpreted:
    """Distilled data of a data set with C classes.

    Attributes:
        images: [C * ipc, h, w, c], class by class: network inputs or pixels in 0..1, float32, or pixels, uint8.
        labels: float32 [C * ipc, C], centred: one-hot labels minus 1/C are their like.
        classes: int32 [C * ipc], 0 to C - 1, ipc times each.
        are_pixels: whether the images still have to be preprocessed.
        notes: a sentence for the user about each thing that the file does not say itself.
    """

    images: np.ndarray
    labels: np.ndarray
    classes: np.ndarray
    are_pixels: bool
    notes: tuple[str, ...]


def interpret(
    foreign: Foreign, image_shape: tuple[int, int, int], num_classes: int, ipc: int, *, pixels: bool
) -> Interpreted:
    """Return what was read as distilled data of a data set with images [h, w, c] = `image_shape`.

    Images of uint8 are pixels, others network inputs, or pixels in 0..1 where `pixels` is set.

    Raises:
        FrepoError: it is not data of this data set with `ipc` images per class, or not numbers that can be used.
    """
    images, layout = _channels_last(foreign, image_shape)
    _check_counts(foreign, images.shape, num_classes, ipc)
    images, are_pixels, kind = _numbers(foreign, images, pixels)
    labels, hard, centring = _centred(foreign, num_classes)
    classes = np.repeat(np.arange(num_classes, dtype=np.int32), ipc)
    order, sorting = _class_by_class(foreign, labels, classes, hard)
    if order is not None:
        images, labels = images[order], labels[order]
    notes = (f"images are {foreign.names[0]} and labels {foreign.names[1]} of {foreign.path}",)
    notes += layout + kind + centring + sorting
    return Interpreted(np.ascontiguousarray(images), labels, classes, are_pixels, notes)


def _channels_last(foreign: Foreign, image_shape: tuple[int, int, int]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return images [n, h, w, c]."""
    images = foreign.images
    height, width, channels = image_shape
    if images.shape[1:] == (height, width, channels):
        return images, ()
    if images.shape[1:] == (channels, height, width):
        return images.transpose(0, 2, 3, 1), ("images are [n, channels, height, width]: channels moved to the end",)
    if channels == 1 and images.shape[1:] == (height, width):
        return images[..., None], ()
    if images.ndim not in (3, 4):
        raise FrepoError(
            f"{foreign.path} holds images of the shape {images.shape}; reshape them to [n, height, width, channels]"
        )
    has = "x".join(str(size) for size in images.shape[1:])
    raise FrepoError(
        f"{foreign.path} holds images of {has}; those of the spec's data set are {height}x{width}x{channels}; choose "
        "the data set (and dataset.resolution) that the file was made for"
    )


def _check_counts(foreign: Foreign, shape: tuple[int, ...], num_classes: int, ipc: int) -> None:
    """Hold the number of images [n, h, w, c] = `shape` and of labels against what is wanted."""
    count, labels = shape[0], foreign.labels.shape
    if len(labels) not in (1, 2) or labels[0] != count:
        raise FrepoError(
            f"{foreign.path} holds {count} images, but labels of the shape {labels}; save one row of labels, or one "
            "class number, for each image"
        )
    if len(labels) == 2 and labels[1] not in (1, num_classes):
        raise FrepoError(
            f"{foreign.path} holds labels for {labels[1]} classes; the spec's data set has {num_classes}; choose the "
            "data set (and dataset.classes) that the file was made for"
        )
    if count != num_classes * ipc:
        per_class, rest = divmod(count, num_classes)
        advice = "that is not the same number for each class: remove some" if rest else f"set distill.ipc = {per_class}"
        raise FrepoError(
            f"{foreign.path} holds {count} images of {'x'.join(map(str, shape[1:]))} for {num_classes} classes; the "
            f"spec wants ipc = {ipc}, i.e. {num_classes * ipc}; {advice}"
        )


def _numbers(foreign: Foreign, images: np.ndarray, pixels: bool) -> tuple[np.ndarray, bool, tuple[str, ...]]:
    """Return images as uint8 or finite float32, and whether they are pixels."""
    if images.dtype == np.uint8:
        return images, True, () if pixels else ("images are uint8, so they are taken as pixels",)
    if images.dtype.kind in "iu":
        raise FrepoError(
            f"{foreign.path} holds images of {images.dtype}; save pixels as uint8, network inputs as float32"
        )
    images = _finite(foreign, images, "images")
    low, high = float(images.min()), float(images.max())
    where = f"from {low:.4g} to {high:.4g}"
    if not pixels:
        notes = (f"images are {where} and taken as network inputs, made with the preprocessing that the spec names",)
        if low >= 0:
            notes += ("no image is negative anywhere: if they are pixels, say so with --pixels",)
        return images, False, notes
    if low >= -PIXEL_TOLERANCE and high <= 1 + PIXEL_TOLERANCE:
        return images, True, ()
    if low >= 0 and high <= 255:
        raise FrepoError(f"{foreign.path} holds pixels {where}; save them as uint8, or divide them by 255")
    raise FrepoError(f"{foreign.path} holds images {where}: no pixels in 0..1; import network inputs without --pixels")


def _centred(foreign: Foreign, num_classes: int) -> tuple[np.ndarray, bool, tuple[str, ...]]:
    """Return labels float32 [n, C], whether they are of one class each, and notes."""
    labels = foreign.labels
    share = np.float32(1 / num_classes)
    if labels.ndim == 1 or labels.shape[1] != num_classes:
        if labels.dtype.kind not in "iu":
            raise FrepoError(
                f"{foreign.path} holds one {labels.dtype} as each label; save class numbers as integers, or [n, "
                f"{num_classes}] soft labels"
            )
        numbers = labels.reshape(-1)
        if numbers.min() < 0 or numbers.max() >= num_classes:
            raise FrepoError(
                f"{foreign.path} holds classes from {numbers.min()} to {numbers.max()}; those of the spec's data set "
                f"are 0 to {num_classes - 1}"
            )
        return np.eye(num_classes, dtype=np.float32)[numbers.astype(np.intp)] - share, True, ()
    labels = _finite(foreign, labels, "labels")
    if labels.min() < 0 or np.abs(labels.sum(axis=1, dtype=np.float64) - 1).max() > SUM_TOLERANCE:
        return labels, False, ("labels are taken as they are: centred soft labels, as FRePo learns them",)
    hard = bool(np.all((labels == 0) | (labels == 1)))
    what = "one-hot" if hard else "probabilities"
    return labels - share, hard, (f"labels are {what}: 1/{num_classes} was subtracted to centre them",)


def _class_by_class(
    foreign: Foreign, labels: np.ndarray, classes: np.ndarray, hard: bool
) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """Return the order of the rows in which they have the `classes`, None for the order given."""
    largest = labels.argmax(axis=1)
    strays = int(np.sum(largest != classes))
    if not strays:
        return None, ()
    counts = np.bincount(largest, minlength=labels.shape[1])
    if counts.min() == counts.max():
        return np.argsort(largest, kind="stable"), ("rows were put in order, class by class, by their labels",)
    if hard or 2 * strays > len(classes):
        raise FrepoError(
            f"{foreign.path} holds {counts.min()} images of class {counts.argmin()} and {counts.max()} of class "
            f"{counts.argmax()} by their labels; the spec wants {len(classes) // len(counts)} of each, class by class"
        )
    return None, (
        f"{strays} of {len(classes)} labels are largest at another class than that of their place; the order given, "
        "class by class, was kept",
    )


def _finite(foreign: Foreign, numbers: np.ndarray, name: str) -> np.ndarray:
    """Return numbers as float32."""
    with np.errstate(all="ignore"):  # too large becomes infinity and is refused below
        numbers = numbers.astype(np.float32, copy=False)
    if not np.isfinite(numbers).all():
        raise FrepoError(
            f"{foreign.path} holds {name} that are not finite numbers: what made them has diverged; choose an earlier "
            "checkpoint"
        )
    return numbers

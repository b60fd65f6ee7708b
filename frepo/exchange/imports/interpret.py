"""Arrays of a stranger's distilled data to images and labels that fit a data set."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from frepo.errors import FrepoError
from frepo.exchange.imports.read import Foreign
from frepo.exchange.imports.stored import Layout

SUM_TOLERANCE = 0.01
"""How far probabilities may be from a sum of one: half-precision ones are not nearer."""
PIXEL_TOLERANCE = 0.001
"""How far pixels may be outside of 0..1: undoing a standardisation does not give the ends exactly."""
LARGEST_INPUT = 16
"""Images without negative numbers that go beyond are pixels: standardised or whitened ones are spread about 0."""
LARGEST_LABEL = 3
"""Labels that go beyond are logits: learned ones begin between -1 and 1 and stay near."""
MOST_LISTED = 10
AS_THEY_ARE = "labels are taken as they are: centred soft labels, as FRePo learns them"
LOGITS = "labels are taken as they are: logits, whose softmax loss = 'soft_xent' trains on"


@dataclass(frozen=True)
class Interpreted:
    """Distilled data of a data set with C classes.

    Attributes:
        images: [C * ipc, h, w, c], class by class: network inputs or pixels in 0..1, float32, or pixels, uint8.
        labels: float32 [C * ipc, C], centred: one-hot labels minus 1/C are their like.
        are_pixels: whether the images still have to be preprocessed.
        notes: a sentence for the user about each thing that the file does not say itself.
        doubts: a sentence about each thing that may be wrong.
    """

    images: np.ndarray
    labels: np.ndarray
    are_pixels: bool
    notes: tuple[str, ...]
    doubts: tuple[str, ...]


def interpret(
    foreign: Foreign,
    image_shape: tuple[int, int, int],
    num_classes: int,
    ipc: int,
    *,
    pixels: int | None,
    layout: Layout | None = None,
    logits: bool | None = None,
) -> Interpreted:
    """Return what was read as distilled data of a data set with images [h, w, c] = `image_shape`.

    Images of uint8 are pixels, others network inputs, or pixels from 0 to `pixels`, 1 or 255, where it is set. `layout`
    says where their channels are, `logits` whether soft labels are logits; both follow from the file where it is None.

    Raises:
        FrepoError: it is not data of this data set with `ipc` images per class, not numbers that can be used, or could
            be read in several ways.
    """
    images, moved = _channels_last(foreign, image_shape, layout or foreign.layout)
    given = foreign.labels
    if given is None:
        given = np.repeat(np.arange(num_classes), max(1, len(images) // num_classes))
    _check_labels_shape(foreign, given, len(images), num_classes)
    labels, hard, centring, label_doubts = _centred(foreign, given, num_classes, logits)
    _check_counts(foreign, labels, hard, ipc)
    images, are_pixels, kind, doubts = _numbers(foreign, images, pixels)
    order, sorting = _class_by_class(foreign, labels, hard)
    if order is not None:
        images, labels = images[order], labels[order]
    elsewhere = f" of {foreign.path} and labels {foreign.names[1]} of {foreign.labels_path}"
    here = f" and labels {foreign.names[1]} of {foreign.path}"
    notes = (f"images are {foreign.names[0]}{elsewhere if foreign.labels_path else here}", *foreign.notes)
    notes += moved + kind + centring + sorting
    return Interpreted(np.ascontiguousarray(images), labels, are_pixels, notes, doubts + label_doubts)


def _channels_last(
    foreign: Foreign, image_shape: tuple[int, int, int], layout: Layout | None
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return images [n, h, w, c]."""
    images = foreign.images
    height, width, channels = image_shape
    sizes = images.shape[1:]
    if channels == 1 and sizes == (height, width):
        return images[..., None], ()
    shapes: dict[Layout, tuple[int, int, int]] = {"nhwc": image_shape, "nchw": (channels, height, width)}
    fitting: list[Layout] = [name for name, shape in shapes.items() if sizes in (shape, (math.prod(shape),))]
    if fitting and layout and layout not in fitting:
        raise FrepoError(f"{foreign.path} holds images of the shape {images.shape}, which are not {layout}")
    if len(fitting) == 2 and layout is None and min(channels, height * width) > 1:
        raise FrepoError(
            f"{foreign.path} holds images of the shape {images.shape}, whose channels may come first or last; say so "
            "with --layout nchw or --layout nhwc"
        )
    if fitting:
        chosen = layout or fitting[0]
        images = images.reshape(len(images), *shapes[chosen])
        if chosen == "nhwc" or channels == 1:
            return images.reshape(len(images), *image_shape), ()
        return images.transpose(0, 2, 3, 1), ("images are [n, channels, height, width]: channels moved to the end",)
    if images.ndim not in (2, 3, 4):
        raise FrepoError(
            f"{foreign.path} holds images of the shape {images.shape}; reshape them to [n, height, width, channels]"
        )
    has = "x".join(str(size) for size in sizes)
    raise FrepoError(
        f"{foreign.path} holds images of {has}; those of the spec's data set are {height}x{width}x{channels}; choose "
        "the data set (and dataset.resolution) that the file was made for"
    )


def _check_labels_shape(foreign: Foreign, given: np.ndarray, count: int, num_classes: int) -> None:
    """Hold the number of labels against that of images, and of classes."""
    labels = given.shape
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


def _check_counts(foreign: Foreign, labels: np.ndarray, hard: bool, ipc: int) -> None:
    """Hold the number of images, labelled [n, C], against what is wanted."""
    count, num_classes = labels.shape
    if count == num_classes * ipc:
        return
    counts = np.bincount(labels.argmax(axis=1), minlength=num_classes)
    per_class, rest = divmod(count, num_classes)
    if not counts.all():
        advice = f"there are {_uneven(counts)}: if it is a set of some classes, list them as dataset.classes"
    elif rest or (hard and counts.min() < counts.max()):
        advice = f"that is not the same number for each class, but {_uneven(counts)}: remove some"
    else:
        advice = f"set distill.ipc = {per_class}"
    raise FrepoError(
        f"{foreign.path} holds {count} images for {num_classes} classes; the spec wants ipc = {ipc}, i.e. "
        f"{num_classes * ipc}; {advice}"
    )


def _uneven(counts: np.ndarray) -> str:
    """Return which classes are missing, or how unequal the numbers of their images are."""
    missing = [str(label) for label in np.flatnonzero(counts == 0)]
    if not missing:
        few, many = (f"{counts[label]} images of class {label}" for label in (counts.argmin(), counts.argmax()))
        return f"{few} and {many} by their labels"
    more = f" and {len(missing) - MOST_LISTED} more" if len(missing) > MOST_LISTED else ""
    return f"no images of class {', '.join(missing[:MOST_LISTED])}{more} by their labels"


def _numbers(
    foreign: Foreign, images: np.ndarray, pixels: int | None
) -> tuple[np.ndarray, bool, tuple[str, ...], tuple[str, ...]]:
    """Return images as uint8 or finite float32, whether they are pixels, notes and doubts."""
    if images.dtype == np.uint8:
        return images, True, () if pixels else ("images are uint8, so they are taken as pixels",), ()
    if images.dtype.kind in "iu":
        raise FrepoError(
            f"{foreign.path} holds images of {images.dtype}; save pixels as uint8, network inputs as float32"
        )
    images = _finite(foreign, images, "images")
    low, high = float(images.min()), float(images.max())
    where = f"from {low:.4g} to {high:.4g}"
    if not pixels:
        if low >= 0 and LARGEST_INPUT < high <= 255:
            raise FrepoError(f"{foreign.path} holds images {where}: they look like pixels; say so with --pixels-255")
        note = f"images are {where} and taken as network inputs, made with the preprocessing that the spec names"
        doubt = "no image is negative anywhere: if they are pixels, say so with --pixels"
        return images, False, (note,), (doubt,) if low >= 0 else ()
    _check_pixels(foreign, low, high, pixels)
    return images if pixels == 1 else images / np.float32(pixels), True, (), ()


def _check_pixels(foreign: Foreign, low: float, high: float, largest: int) -> None:
    """Hold the smallest and the largest number of images against what was said of them."""
    holds = f"{foreign.path} holds images from {low:.4g} to {high:.4g}"
    if largest == 255 and low >= -PIXEL_TOLERANCE and high <= 1 + PIXEL_TOLERANCE:
        raise FrepoError(f"{holds}: they look like pixels in 0..1; say so with --pixels in place of --pixels-255")
    if low >= -PIXEL_TOLERANCE * largest and high <= (1 + PIXEL_TOLERANCE) * largest:
        return
    if largest == 1 and low >= 0 and high <= 255:
        raise FrepoError(f"{holds}: no pixels in 0..1; if they are in 0..255, say --pixels-255 in place of --pixels")
    raise FrepoError(f"{holds}: no pixels in 0..{largest}; import network inputs without --pixels and --pixels-255")


def _centred(
    foreign: Foreign, given: np.ndarray, num_classes: int, logits: bool | None
) -> tuple[np.ndarray, bool, tuple[str, ...], tuple[str, ...]]:
    """Return labels float32 [n, C], whether they are of one class each, notes and doubts."""
    share = np.float32(1 / num_classes)
    path = foreign.labels_path or foreign.path
    if given.ndim == 1 or given.shape[1] != num_classes:
        if given.dtype.kind not in "iu":
            raise FrepoError(
                f"{path} holds one {given.dtype} as each label; save class numbers as integers, or [n, "
                f"{num_classes}] soft labels"
            )
        numbers = given.reshape(-1)
        if numbers.min() < 0 or numbers.max() >= num_classes:
            raise FrepoError(
                f"{path} holds classes from {numbers.min()} to {numbers.max()}; those of the spec's data set "
                f"are 0 to {num_classes - 1}"
            )
        if logits:
            raise FrepoError(f"{path} holds class numbers, which --logits does not suit; import it without")
        return np.eye(num_classes, dtype=np.float32)[numbers.astype(np.intp)] - share, True, (), ()
    labels = _finite(foreign, given, "labels")
    if logits is not None:
        return labels, False, (LOGITS if logits else AS_THEY_ARE,), ()
    if labels.min() < 0 or np.abs(labels.sum(axis=1, dtype=np.float64) - 1).max() > SUM_TOLERANCE:
        return labels, False, *_soft(path, labels, from_torch=foreign.from_torch)
    hard = bool(np.all((labels == 0) | (labels == 1)))
    what = "one-hot" if hard else "probabilities"
    return labels - share, hard, (f"labels are {what}: 1/{num_classes} was subtracted to centre them",), ()


def _soft(path: Path, labels: np.ndarray, *, from_torch: bool) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return notes and doubts about labels that are no probabilities: centred ones, or logits."""
    low, high = float(labels.min()), float(labels.max())
    where = f"from {low:.4g} to {high:.4g}"
    if max(-low, high) > LARGEST_LABEL:
        doubt = (
            f"labels are {where} and look like logits: centred soft labels are about -1 to 1; loss = 'soft_xent' "
            "trains on the softmax of labels, 'mse' on the numbers themselves"
        )
        return (LOGITS if from_torch else AS_THEY_ARE,), (doubt,)
    if from_torch:
        raise FrepoError(
            f"{path} holds labels {where} whose rows do not sum to 1: say --logits if a method takes their softmax, "
            "--no-logits if networks are to predict the numbers themselves"
        )
    return (AS_THEY_ARE,), ()


def _class_by_class(foreign: Foreign, labels: np.ndarray, hard: bool) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """Return the order of the rows in which they go class by class, None for the order given."""
    ipc = len(labels) // labels.shape[1]
    classes = np.repeat(np.arange(labels.shape[1]), ipc)
    largest = labels.argmax(axis=1)
    strays = int(np.sum(largest != classes))
    if not strays:
        return None, ()
    counts = np.bincount(largest, minlength=labels.shape[1])
    if counts.min() == counts.max():
        return np.argsort(largest, kind="stable"), ("rows were put in order, class by class, by their labels",)
    if hard or 2 * strays > len(classes):
        raise FrepoError(f"{foreign.path} holds {_uneven(counts)}; the spec wants {ipc} of each, class by class")
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

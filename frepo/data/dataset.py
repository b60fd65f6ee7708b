"""A data set as the rest of the program sees it."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from frepo.data.preprocess import FittedPreprocess


@dataclass(frozen=True)
class RawSplits:
    """Decoded images in stored form.

    Images are uint8 [n, height, width, channels], labels int32 [n] in 0..num_classes-1.
    """

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    class_names: tuple[str, ...]


@dataclass(frozen=True)
class DatasetInfo:
    """Facts found in the data."""

    name: str
    class_names: tuple[str, ...]
    image_shape: tuple[int, int, int]
    """Height, width, channels."""
    num_train: int
    num_test: int
    smallest_class: int
    """Number of training images of the smallest class."""
    fingerprint: str
    """SHA-256 over pixels, labels and class names."""
    label_classes: int
    """Number of classes by which labels are centred: those used here, or all classes of which these are a part."""

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    def to_json(self) -> dict[str, Any]:
        """Return the facts as JSON."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}


@dataclass(frozen=True)
class Dataset:
    """Images [n, height, width, channels] and labels int32 [n].

    Images are stored as uint8 pixels if `preprocess` only standardises, which each reader then does itself, and as
    float32 network inputs if it whitens; memory-mapped if they come from the cache.
    """

    info: DatasetInfo
    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    preprocess: FittedPreprocess

    def inputs(self, stored: np.ndarray) -> np.ndarray:
        """Return network inputs, float32, from stored images."""
        return self.preprocess.apply(stored) if stored.dtype == np.uint8 else np.asarray(stored)

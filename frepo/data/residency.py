"""Location of the training images while a loop draws batches from them: on the device, or on the host."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from frepo.data.cache import release
from frepo.data.dataset import Dataset
from frepo.data.preprocess import FittedPreprocess
from frepo.engine.devices import place
from frepo.engine.shared import shared
from frepo.runtime import Residency

Take = Callable[[Any, Any], tuple[jax.Array, jax.Array]]
ToInputs = Callable[[jax.Array], jax.Array]

SHARE_OF_MEMORY = 0.4
"""Largest fraction of the device's memory for training images by default: the rest is for the networks."""


class LabelledImages(NamedTuple):
    """Images [..., h, w, c] in stored form, labels int32 [...]."""

    images: Any
    labels: Any


@dataclass(frozen=True)
class TrainingImages:
    """Access of a compiled step to its batch of training images."""

    constants: LabelledImages | None
    """The whole training set on the device, or None if batches come from the host."""
    given: Callable[[np.ndarray], Any]
    """Indices int32 [steps, batch] -> the host's inputs for these steps, with the same leading axis."""
    take: Take
    """(constants, host input of one step) -> network inputs [batch, h, w, c] and labels int32 [batch]; traced."""
    bytes_per_step: int
    """Bytes that the host sends to the device for a step."""


def training_images(dataset: Dataset, batch_size: int, residency: Residency, dtype: DTypeLike) -> TrainingImages:
    """Return the training images of `dataset` in the form that a loop reads; the numbers do not depend on `residency`.

    Pixels stay uint8 until the step, which standardises them; whitened images are kept in `dtype`, the dtype of the
    networks, so nothing is lost. With `auto` they go to the device if they take less than two fifths of its
    memory.
    """
    stored = dataset.train_images
    kept = stored.dtype if stored.dtype == np.uint8 else np.dtype(dtype)
    on_device = residency == "device" or (residency == "auto" and _fits(stored.size * kept.itemsize))
    to_inputs = input_maker(dataset.preprocess)
    if on_device:
        whole = LabelledImages(place(stored.astype(kept, copy=False)), place(dataset.train_labels))
        return TrainingImages(whole, as_they_are, _taken_on_device(to_inputs), 0)

    def gather(indices: np.ndarray) -> LabelledImages:
        images = stored[indices].astype(kept, copy=False)
        release(stored)
        return LabelledImages(images, dataset.train_labels[indices])

    size = batch_size * int(np.prod(stored.shape[1:])) * kept.itemsize
    return TrainingImages(None, gather, _taken_on_host(to_inputs), size)


def as_they_are(indices: np.ndarray) -> np.ndarray:
    """Return the indices: images on the device are taken there."""
    return indices


@shared
def _taken_on_device(to_inputs: ToInputs) -> Take:
    return lambda data, indices: (to_inputs(data.images[indices]), data.labels[indices])


@shared
def _taken_on_host(to_inputs: ToInputs) -> Take:
    return lambda _, batch: (to_inputs(batch.images), batch.labels)


def input_maker(preprocess: FittedPreprocess) -> ToInputs:
    """Return a map from stored images to network inputs, inside a compiled program."""
    return _standardized(tuple(preprocess.mean.tolist()), tuple(preprocess.deviation.tolist()))


@shared
def _standardized(mean: tuple[float, ...], deviation: tuple[float, ...]) -> ToInputs:
    def to_inputs(stored: jax.Array) -> jax.Array:
        if stored.dtype != jnp.uint8:
            return stored
        return (stored.astype(jnp.float32) / 255 - np.array(mean, np.float32)) / np.array(deviation, np.float32)

    return to_inputs


def _fits(size: int) -> bool:
    limit = (jax.local_devices()[0].memory_stats() or {}).get("bytes_limit")
    memory = limit or os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return size < SHARE_OF_MEMORY * memory

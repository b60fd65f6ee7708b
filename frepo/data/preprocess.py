"""From pixels to network inputs and back: standardisation and ZCA whitening."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import linalg

from frepo.data.cache import release
from frepo.signals import raise_if_stopping
from frepo.spec import Standardize, Zca

CHUNK_BYTES = 2**26
"""Number of float32 inputs processed at once."""

PUBLISHED = {"mnist": (0.1307, 0.3081), "fashion_mnist": (0.2860, 0.3530)}
"""Mean and std of pixels in 0..1 of the data sets that the literature standardises with fixed numbers."""


@dataclass(frozen=True)
class FittedPreprocess:
    """Preprocessing with its parameters fitted to a training set.

    Attributes:
        mean: float32 [channels], of pixels in 0..1.
        deviation: float32 [channels], std of pixels in 0..1.
        center: float32 [height, width, channels] or None, mean of the standardised images.
        whiten: float32 [d, d] or None, the symmetric whitening matrix; d = height * width * channels of an image, or of
            a block.
        color: float32 [d, d], its inverse; None where it is not at hand.
        block: side of the blocks that are whitened independently; None for whole images.
    """

    mean: np.ndarray
    deviation: np.ndarray
    center: np.ndarray | None = None
    whiten: np.ndarray | None = None
    color: np.ndarray | None = None
    block: int | None = None

    def apply(self, pixels: np.ndarray) -> np.ndarray:
        """Map images [n, h, w, c], uint8 or float pixels in 0..1, to network inputs, float32 of the same shape.

        Raises:
            TypeError: the pixels are of a dtype whose white level is unknown.
        """
        if pixels.dtype != np.uint8 and pixels.dtype.kind != "f":
            raise TypeError(f"pixels are {pixels.dtype}; they must be uint8, or floats in 0..1")
        inputs: np.ndarray = (
            _standardize(pixels, self.mean, self.deviation)
            if pixels.dtype == np.uint8
            else (pixels.astype(np.float32) - self.mean) / self.deviation
        )
        if self.whiten is not None:
            inputs = from_blocks(to_blocks(inputs - self.center, self.block) @ self.whiten, inputs.shape, self.block)
        return inputs

    def invert(self, inputs: np.ndarray) -> np.ndarray:
        """Map network inputs [n, h, w, c] back to pixels in 0..1, float32; values outside 0..1 are not clipped."""
        if self.whiten is not None:
            rows = to_blocks(inputs, self.block)
            colored = linalg.solve(self.whiten, rows.T).T if self.color is None else rows @ self.color
            inputs = from_blocks(colored, inputs.shape, self.block) + self.center
        return (inputs * self.deviation + self.mean).astype(np.float32)


def visible(inputs: np.ndarray) -> np.ndarray:
    """Map network inputs [n, h, w, c] to 0..1 for viewing: each image's mean plus and minus three std."""
    axes = tuple(range(1, inputs.ndim))
    deviation = inputs.std(axes, keepdims=True)
    return 0.5 + (inputs - inputs.mean(axes, keepdims=True)) / (6 * np.where(deviation > 0, deviation, 1))


def to_blocks(images: np.ndarray, block: int | None) -> np.ndarray:
    """Return images [n, h, w, c] as rows [n * blocks, d]: whole images, or squares of `block` pixels a side.

    A square takes every s-th pixel of every s-th row, s = height / block, so each is the whole image at a smaller size.
    """
    if block is None:
        return images.reshape(len(images), -1)
    n, height, width, channels = images.shape
    squares = images.reshape(n, block, height // block, block, width // block, channels).transpose(0, 2, 4, 1, 3, 5)
    return squares.reshape(-1, block * block * channels)


def from_blocks(rows: np.ndarray, shape: tuple[int, ...], block: int | None) -> np.ndarray:
    """Undo `to_blocks` for images of `shape`."""
    if block is None:
        return rows.reshape(shape)
    n, height, width, channels = shape
    squares = rows.reshape(n, height // block, width // block, block, block, channels).transpose(0, 3, 1, 4, 2, 5)
    return squares.reshape(shape)


def chunks(images: np.ndarray, count: int | None = None) -> Iterator[slice]:
    """Yield slices of images [n, h, w, c], or of `count` of them, that are small enough to process as float32."""
    size = max(1, CHUNK_BYTES // (4 * int(np.prod(images.shape[1:]))))
    for start in range(0, len(images) if count is None else count, size):
        raise_if_stopping()
        yield slice(start, start + size)
        release(images)


def fit_preprocess(settings: Standardize | Zca, name: str, pixels: np.ndarray) -> FittedPreprocess:
    """Fit the preprocessing `settings` to the training images `pixels`, uint8 [n, h, w, c], of the data set `name`.

    Reads them in parts, so that they may be memory-mapped and larger than memory.

    Raises:
        Interrupted: a signal came.
    """
    match settings:
        case Standardize():
            return FittedPreprocess(*_channel_moments(name, pixels))
        case Zca(eps=None, reg=reg, block=block):
            mean, deviation = _channel_moments(name, pixels)
            center, covariance = _covariance(pixels, mean, deviation, block)
            whiten, color = zca_matrices(covariance, reg, len(pixels))
            return FittedPreprocess(mean, deviation, center, whiten, color, block)
        case Zca():
            assert settings.eps is not None
            mean, deviation = np.zeros(pixels.shape[-1], np.float32), np.ones(pixels.shape[-1], np.float32)
            center, covariance = _covariance(pixels, mean, deviation, None)
            unbiased = covariance * (len(pixels) / (len(pixels) - 1))
            values, vectors = linalg.eigh(unbiased, driver="evd", check_finite=False)
            whiten, color = _roots(values, vectors, settings.eps)
            return FittedPreprocess(mean, deviation, center, whiten, color)


def zca_matrices(covariance: np.ndarray, reg: float, num_images: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the symmetric whitening matrix and its inverse, both float32 [d, d].

    With eigenvalues l and eigenvectors U of the float64 `covariance` [d, d] and m = l + reg * tr(covariance) / d, the
    matrix is U diag(m^-1/2) U^T. If there are fewer images than dimensions, the d - `num_images` smallest m are one
    (no data to estimate them from). Blocks of an image do not count as images.
    """
    dimension = len(covariance)
    values, vectors = linalg.eigh(covariance, driver="evd", check_finite=False)
    regularised = np.maximum(values, 0.0) + reg * np.trace(covariance) / dimension
    regularised[: max(0, dimension - num_images)] = 1.0  # eigh sorts ascending: these are the smallest
    return _roots(regularised, vectors)


def _roots(values: np.ndarray, vectors: np.ndarray, eps: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Return U diag(l + eps)^-1/2 U^T and its inverse for eigenvalues l and eigenvectors U, float32."""
    scales = np.sqrt(np.maximum(values, 0.0) + eps)
    return (
        ((vectors / scales) @ vectors.T).astype(np.float32),
        ((vectors * scales) @ vectors.T).astype(np.float32),
    )


def _channel_moments(name: str, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    channels = pixels.shape[-1]
    if name in PUBLISHED:
        mean, deviation = PUBLISHED[name]
        return np.full(channels, mean, np.float32), np.full(channels, deviation, np.float32)
    levels = np.arange(256) / 255
    counts = np.zeros((channels, 256), np.int64)
    for part in chunks(pixels):
        counts += [np.bincount(pixels[part][..., c].ravel(), minlength=256) for c in range(channels)]
    shares = counts / counts.sum(axis=1, keepdims=True)
    mean = shares @ levels
    deviation = np.sqrt(np.maximum(shares @ levels**2 - mean**2, 0.0))
    return mean.astype(np.float32), np.where(deviation > 0, deviation, 1.0).astype(np.float32)


def _standardize(pixels: np.ndarray, mean: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    levels = (np.arange(256, dtype=np.float32)[:, None] / np.float32(255) - mean) / deviation
    return np.stack([levels[:, c][pixels[..., c]] for c in range(pixels.shape[-1])], axis=-1)


def _covariance(
    pixels: np.ndarray, mean: np.ndarray, deviation: np.ndarray, block: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and covariance of standardised images.

    The mean is float32 [h, w, c]; the covariance float64 [d, d], of whole images or averaged over the blocks.
    """
    total = np.zeros(pixels.shape[1:])
    for part in chunks(pixels):
        total += _standardize(pixels[part], mean, deviation).sum(0, np.float64)
    center = (total / len(pixels)).astype(np.float32)
    dimension = to_blocks(center[None], block).shape[1]
    products, rows = np.zeros((dimension, dimension)), 0
    for part in chunks(pixels):
        flat = to_blocks(_standardize(pixels[part], mean, deviation) - center, block)
        products += flat.T @ flat
        rows += len(flat)
    return center, products / rows

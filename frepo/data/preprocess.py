"""From pixels to network inputs and back: standardisation and ZCA whitening."""

from dataclasses import dataclass

import numpy as np
from scipy import linalg

from frepo.spec import Standardize, Zca

CHUNK = 5000

PUBLISHED = {"mnist": (0.1307, 0.3081), "fashion_mnist": (0.2860, 0.3530)}
"""Mean and deviation of pixels in 0..1 of the data sets that the literature standardises with fixed numbers."""


@dataclass(frozen=True)
class FittedPreprocess:
    """Preprocessing with its parameters fitted to a training set.

    Attributes:
        mean: float32 [channels], of pixels in 0..1.
        deviation: float32 [channels], of pixels in 0..1.
        center: float32 [d] or None, mean of the standardised flattened images, d = height * width * channels.
        whiten: float32 [d, d] or None, the symmetric whitening matrix.
        color: float32 [d, d] or None, its inverse.
    """

    mean: np.ndarray
    deviation: np.ndarray
    center: np.ndarray | None = None
    whiten: np.ndarray | None = None
    color: np.ndarray | None = None

    def apply(self, pixels: np.ndarray) -> np.ndarray:
        """Map uint8 images [n, h, w, c] to network inputs, float32 of the same shape."""
        inputs = _standardize(pixels, self.mean, self.deviation)
        if self.whiten is not None:
            flat = inputs.reshape(len(inputs), -1)
            flat -= self.center
            inputs = (flat @ self.whiten).reshape(inputs.shape)
        return inputs

    def invert(self, inputs: np.ndarray) -> np.ndarray:
        """Map network inputs [n, h, w, c] back to pixels in 0..1, float32; values outside of 0..1 are not clipped."""
        if self.color is not None:
            inputs = (inputs.reshape(len(inputs), -1) @ self.color + self.center).reshape(inputs.shape)
        return (inputs * self.deviation + self.mean).astype(np.float32)


def fit_preprocess(settings: Standardize | Zca, name: str, pixels: np.ndarray) -> FittedPreprocess:
    """Fit the preprocessing `settings` to the training images `pixels`, uint8 [n, h, w, c], of the data set `name`."""
    mean, deviation = _channel_moments(name, pixels)
    match settings:
        case Standardize():
            return FittedPreprocess(mean, deviation)
        case Zca(reg=reg):
            center, covariance = _covariance(pixels, mean, deviation)
            whiten, color = zca_matrices(covariance, reg, len(pixels))
            return FittedPreprocess(mean, deviation, center, whiten, color)


def zca_matrices(covariance: np.ndarray, reg: float, num_images: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the symmetric whitening matrix and its inverse, both float32 [d, d].

    With eigenvalues l and eigenvectors U of the float64 `covariance` [d, d], the matrix is
    U diag((l + reg * tr(covariance) / d)^-1/2) U^T. Where there are fewer images than dimensions, the eigenvalues past
    their number count as one (there is nothing to estimate them from).
    """
    dimension = len(covariance)
    values, vectors = linalg.eigh(covariance, driver="evd", check_finite=False)
    if num_images < dimension:
        values[: dimension - num_images] = 1.0  # eigh sorts ascending: these are the smallest
    scales = np.sqrt(np.maximum(values, 0.0) + reg * np.trace(covariance) / dimension)
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
    counts = np.stack([np.bincount(pixels[..., c].ravel(), minlength=256) for c in range(channels)])
    shares = counts / counts.sum(axis=1, keepdims=True)
    mean = shares @ levels
    deviation = np.sqrt(np.maximum(shares @ levels**2 - mean**2, 0.0))
    return mean.astype(np.float32), np.where(deviation > 0, deviation, 1.0).astype(np.float32)


def _standardize(pixels: np.ndarray, mean: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    levels = (np.arange(256, dtype=np.float32)[:, None] / np.float32(255) - mean) / deviation
    return np.stack([levels[:, c][pixels[..., c]] for c in range(pixels.shape[-1])], axis=-1)


def _covariance(pixels: np.ndarray, mean: np.ndarray, deviation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean, float32 [d], and the covariance, float64 [d, d], of standardised images, chunk by chunk."""
    dimension = int(np.prod(pixels.shape[1:]))
    total = np.zeros(dimension)
    for start in range(0, len(pixels), CHUNK):
        total += _standardize(pixels[start : start + CHUNK], mean, deviation).reshape(-1, dimension).sum(0, np.float64)
    center = (total / len(pixels)).astype(np.float32)
    products = np.zeros((dimension, dimension))
    for start in range(0, len(pixels), CHUNK):
        flat = _standardize(pixels[start : start + CHUNK], mean, deviation).reshape(-1, dimension) - center
        products += flat.T @ flat
    return center, products / len(pixels)

"""Differentiable siamese augmentation (Zhao and Bilen, ICML 2021): the same change to real and distilled images.

In `siamese` one operation is drawn per batch, and its parameters once for all images. Both depend on the key alone,
so two batches with one key are changed in the same way, whatever their sizes. In `for_each` every image has its own
parameters. Images are standardised or whitened: zero is the mean colour, used outside the image and for cutout; values
have no bounds to clip to.

Every operation is a special case of one `Change`, so there is no control flow around the pixels, and batches under
`jax.vmap` cost no more than one large batch. Strengths are those of the authors' code
(github.com/VICO-UoE/DatasetCondensation).
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from frepo.spec.learned import Siamese

BRIGHTNESS = (-0.5, 0.5)
SATURATION = (0.0, 2.0)
CONTRAST = (0.5, 1.5)
CROP = 1 / 8
CUTOUT = 1 / 2
ZOOM = (1 / 1.2, 1.2)
ROTATION_DEGREES = 15.0


class Change(NamedTuple):
    """The changes to each image of a batch, in order of application; float32."""

    matrix: jax.Array
    """[2, 2]; the pixel at (row, column) from the centre of the result comes from matrix @ (row, column) + offset."""
    offset: jax.Array
    """[2], in pixels."""
    brightness: jax.Array
    """[], added."""
    saturation: jax.Array
    """[], factor about the pixel's mean over channels."""
    contrast: jax.Array
    """[], factor about the image's mean."""
    hole: jax.Array
    """[2, 2]; first row and column, and row and column past the end, of the area set to zero."""


def siamese(
    operations: tuple[Siamese, ...], key: Key[Array, ""], images: Float[Array, "n h w c"]
) -> Float[Array, "n h w c"]:
    """Return `images` float32 [n, h, w, c] after one of `operations`, the same for all of them, drawn from `key`.

    Without operations, the images are returned unchanged.
    """
    return apply(draw(operations, key, *images.shape[1:3]), images) if operations else images


def for_each(operation: Siamese, key: Key[Array, ""], images: Float[Array, "n h w c"]) -> Float[Array, "n h w c"]:
    """Return `images` float32 [n, h, w, c] after `operation`, whose parameters are drawn from `key` for each of them.

    So the authors augment the images on which a network is trained for a test.
    """
    size = images.shape[1:3]
    changes = jax.vmap(lambda shares: OPERATIONS[operation](shares, *size))(jax.random.uniform(key, (len(images), 3)))
    return jax.vmap(lambda change, image: apply(change, image[None])[0])(changes, images)


def draw(operations: tuple[Siamese, ...], key: Key[Array, ""], height: int, width: int) -> Change:
    """Return one of `operations`, equally likely, with its parameters, for images of height times width pixels."""
    which, *shares = jax.random.uniform(key, (4,))
    choices = [partial(OPERATIONS[name], height=height, width=width) for name in operations]
    return jax.lax.switch(jnp.int32(which * len(choices)), choices, jnp.stack(shares))


def unchanged() -> Change:
    """Return the change that leaves images as they are."""
    zero, one = jnp.zeros(()), jnp.ones(())
    return Change(jnp.eye(2), jnp.zeros(2), zero, one, one, jnp.zeros((2, 2)))


def apply(change: Change, images: Float[Array, "n h w c"]) -> Float[Array, "n h w c"]:
    """Return `images` float32 [n, h, w, c] after `change`; `unchanged()` leaves them exactly as they are."""
    images = _warp(change, images)
    images = images + change.brightness
    images = images + (change.saturation - 1) * (images - images.mean(axis=3, keepdims=True))
    images = images + (change.contrast - 1) * (images - images.mean(axis=(1, 2, 3), keepdims=True))
    rows, columns = jnp.arange(images.shape[1])[:, None, None], jnp.arange(images.shape[2])[None, :, None]
    (top, left), (bottom, right) = change.hole
    hole = (rows >= top) & (rows < bottom) & (columns >= left) & (columns < right)
    return jnp.where(hole, 0.0, images)


def _warp(change: Change, images: Float[Array, "n h w c"]) -> Float[Array, "n h w c"]:
    """Move pixels: bilinear, zero outside; exact if every pixel comes from exactly one pixel."""
    n, height, width, channels = images.shape
    rows, columns = (x.ravel() for x in jnp.meshgrid(_from_middle(height), _from_middle(width), indexing="ij"))
    (a, b), (c, d) = change.matrix
    row = a * rows + b * columns + change.offset[0] + (height - 1) / 2
    column = c * rows + d * columns + change.offset[1] + (width - 1) / 2
    top, left = jnp.floor(row), jnp.floor(column)
    # All images are sampled at the same places, so the pixel axis comes first and each pixel is one contiguous row.
    pixels = jnp.moveaxis(images, 0, 2).reshape(height * width, n * channels)
    warped = jnp.zeros_like(pixels)
    for i in (top, top + 1):
        for j in (left, left + 1):
            inside = (i >= 0) & (i < height) & (j >= 0) & (j < width)
            weight = jnp.where(inside, (1 - jnp.abs(row - i)) * (1 - jnp.abs(column - j)), 0.0)
            place = jnp.clip(i, 0, height - 1) * width + jnp.clip(j, 0, width - 1)
            warped += weight[:, None] * pixels[place.astype(jnp.int32)]
    return jnp.moveaxis(warped.reshape(height, width, n, channels), 2, 0)


def _from_middle(size: int) -> jax.Array:
    return jnp.arange(size) - (size - 1) / 2


def _color(u: jax.Array, height: int, width: int) -> Change:  # noqa: ARG001
    """Shift brightness by up to a half, scale saturation by a factor of 0 to 2 and contrast by 0.5 to 1.5."""
    return unchanged()._replace(
        brightness=_between(*BRIGHTNESS, u[0]),
        saturation=_between(*SATURATION, u[1]),
        contrast=_between(*CONTRAST, u[2]),
    )


def _crop(u: jax.Array, height: int, width: int) -> Change:
    """Shift by up to an eighth of the side in both directions, by whole pixels."""
    most = np.floor(np.array([height, width], np.float32) * CROP + 0.5)
    return unchanged()._replace(offset=jnp.floor(u[:2] * (2 * most + 1)) - most)


def _cutout(u: jax.Array, height: int, width: int) -> Change:
    """Blank a square of half the side, centred anywhere in the image."""
    size = np.array([height, width], np.float32)
    sides = np.floor(size * CUTOUT + 0.5)
    start = jnp.floor(u[:2] * (size + 1 - sides % 2)) - sides // 2
    return unchanged()._replace(hole=jnp.stack([start, start + sides]))


def _flip(u: jax.Array, height: int, width: int) -> Change:  # noqa: ARG001
    """Mirror with probability one half."""
    mirrored = jnp.diag(jnp.array([1.0, -1.0]))
    return unchanged()._replace(matrix=jnp.where(u[0] < 0.5, mirrored, jnp.eye(2)))


def _scale(u: jax.Array, height: int, width: int) -> Change:  # noqa: ARG001
    """Scale by factors of 1/1.2 to 1.2, drawn separately for each direction."""
    return unchanged()._replace(matrix=jnp.diag(_between(*ZOOM, u[:2])))


def _rotate(u: jax.Array, height: int, width: int) -> Change:  # noqa: ARG001
    """Rotate by up to 15 degrees about the centre."""
    angle = jnp.deg2rad(_between(-ROTATION_DEGREES, ROTATION_DEGREES, u[0]))
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    return unchanged()._replace(matrix=jnp.array([[cos, -sin], [sin, cos]]))


def _between(low: float, high: float, u: jax.Array) -> jax.Array:
    return low + (high - low) * u


OPERATIONS: dict[Siamese, Callable[..., Change]] = {
    "color": _color,
    "crop": _crop,
    "cutout": _cutout,
    "flip": _flip,
    "scale": _scale,
    "rotate": _rotate,
}
"""Each makes its change from three numbers float32 [3], uniform in 0..1, and the height and width in pixels."""

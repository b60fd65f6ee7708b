"""Augmentation of a batch inside a compiled step, with parameters drawn for each image.

Images are whitened or standardised: zero is the mean colour, values have no bounds and channels no hue.
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jax.scipy.ndimage import map_coordinates
from jaxtyping import Array, Float, Key

from frepo.networks import siamese
from frepo.spec.recipe import Augmentation, AugmentationMode, Strategy

COLOR = 0.25
ZOOM = (0.8, 1.25)
ROTATION_DEGREES = 15.0
TRANSLATION = 1 / 8
CUTOUT = 1 / 4

Operation = Callable[[jax.Array, jax.Array], jax.Array]


def augment(
    operations: tuple[Augmentation, ...],
    mode: AugmentationMode,
    key: Key[Array, ""],
    images: Float[Array, "n h w c"],
    strategy: Strategy = "frepo",
) -> Float[Array, "n h w c"]:
    """Return `images` float32 [n, h, w, c] after `operations`, same shape; without operations, unchanged.

    `one` draws one operation uniformly for the whole batch, `each` one for every image; `all` applies each in the given
    order, with its own key.
    """
    chosen = [OPERATIONS[strategy][name] for name in operations]
    if not chosen:
        return images
    match mode:
        case "one":
            which, parameters = jax.random.split(key)
            return jax.lax.switch(jax.random.randint(which, (), 0, len(chosen)), chosen, parameters, images)
        case "each":
            which, parameters = jax.random.split(key)
            drawn = jax.random.randint(which, (len(images), 1, 1, 1), 0, len(chosen))
            keys = jax.random.split(parameters, len(chosen))
            results = [operation(own, images) for operation, own in zip(chosen, keys, strict=True)]
            return jnp.select([drawn == number for number in range(len(chosen))], results)
        case "all":
            for operation, parameters in zip(chosen, jax.random.split(key, len(chosen)), strict=True):
                images = operation(parameters, images)
            return images


def both_sides(
    images: Float[Array, "n h w c"], labels: Float[Array, "n C"], *, flip: bool
) -> tuple[Float[Array, "m h w c"], Float[Array, "m C"]]:
    """Return labelled images; with `flip`, images and their mirror images, and the labels twice."""
    if not flip:
        return images, labels
    return jnp.concatenate([images, images[:, :, ::-1]]), jnp.concatenate([labels, labels])


def _flip(key: jax.Array, images: jax.Array) -> jax.Array:
    """Mirror each image with probability one half."""
    mirrored = jax.random.bernoulli(key, 0.5, (len(images), 1, 1, 1))
    return jnp.where(mirrored, images[:, :, ::-1], images)


def _color(key: jax.Array, images: jax.Array) -> jax.Array:
    """Shift brightness, and stretch contrast about the image's mean and saturation about the pixel's mean, by +-25%."""
    brightness, contrast, saturation = jax.random.uniform(key, (3, len(images), 1, 1, 1), minval=-COLOR, maxval=COLOR)
    images = images + brightness
    mean = images.mean(axis=(1, 2, 3), keepdims=True)
    images = mean + (images - mean) * (1 + contrast)
    gray = images.mean(axis=3, keepdims=True)
    return gray + (images - gray) * (1 + saturation)


def _crop(key: jax.Array, images: jax.Array) -> jax.Array:
    """Resize by 0.8 to 1.25 (log-uniform) about a random point; outside the image is black, the mean colour."""
    scale_key, center_key = jax.random.split(key)
    low, high = jnp.log(jnp.array(ZOOM))
    scale = jnp.exp(jax.random.uniform(scale_key, (len(images),), minval=low, maxval=high))
    center = jax.random.uniform(center_key, (len(images), 2), minval=-0.5, maxval=0.5)
    matrix = jnp.eye(2) / scale[:, None, None]
    return _warp(images, matrix, center * (1 - 1 / scale)[:, None])


def _rotate(key: jax.Array, images: jax.Array) -> jax.Array:
    """Rotate each image by up to 15 degrees about its centre."""
    limit = jnp.deg2rad(ROTATION_DEGREES)
    angle = jax.random.uniform(key, (len(images),), minval=-limit, maxval=limit)
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    matrix = jnp.stack([jnp.stack([cos, -sin], -1), jnp.stack([sin, cos], -1)], -2)
    return _warp(images, matrix, jnp.zeros((len(images), 2)))


def _translate(key: jax.Array, images: jax.Array) -> jax.Array:
    """Shift each image by up to an eighth of its side in both directions."""
    shift = jax.random.uniform(key, (len(images), 2), minval=-TRANSLATION, maxval=TRANSLATION)
    return _warp(images, jnp.broadcast_to(jnp.eye(2), (len(images), 2, 2)), shift)


def _cutout(key: jax.Array, images: jax.Array) -> jax.Array:
    """Blank a square of a quarter of the side anywhere in each image."""
    n, height, width, _ = images.shape
    center = jax.random.uniform(key, (n, 2)) * jnp.array([height, width])
    rows = jnp.abs(jnp.arange(height) + 0.5 - center[:, :1]) < height * CUTOUT / 2
    columns = jnp.abs(jnp.arange(width) + 0.5 - center[:, 1:]) < width * CUTOUT / 2
    return jnp.where((rows[:, :, None] & columns[:, None, :])[..., None], 0.0, images)


def _warp(
    images: Float[Array, "n h w c"], matrix: Float[Array, "n 2 2"], offset: Float[Array, "n 2"]
) -> Float[Array, "n h w c"]:
    """Sample each image at matrix @ position + offset, positions relative to the centre in fractions of the side.

    `matrix` [n, 2, 2] and `offset` [n, 2]; bilinear, zero outside.
    """
    # dm_pix.affine_transform also interpolates across channels, which takes eighty times as long on a CPU.
    _, height, width, _ = images.shape
    size = jnp.array([height, width], images.dtype)
    rows, columns = jnp.meshgrid(jnp.arange(height), jnp.arange(width), indexing="ij")
    position = (jnp.stack([rows, columns], -1) + 0.5) / size - 0.5

    def sample(image: jax.Array, matrix: jax.Array, offset: jax.Array) -> jax.Array:
        source = jnp.moveaxis(((position @ matrix.T + offset) + 0.5) * size - 0.5, -1, 0)
        return jax.vmap(lambda channel: map_coordinates(channel, [*source], order=1), in_axes=-1, out_axes=-1)(image)

    return jax.vmap(sample)(images, matrix, offset)


OPERATIONS: dict[Strategy, dict[Augmentation, Operation]] = {
    "frepo": {
        "flip": _flip,
        "color": _color,
        "crop": _crop,
        "rotate": _rotate,
        "translate": _translate,
        "cutout": _cutout,
    },
    "dsa": {name: partial(siamese.for_each, name) for name in siamese.OPERATIONS},
}

"""What makes the images of MNIST and its kin as large as those of CIFAR."""

import jax
import jax.numpy as jnp

MARGIN = 2


def margin(channels: int) -> int:
    """Return how many pixels `pad_one_channel` adds on each side."""
    return MARGIN if channels == 1 else 0


def pad_one_channel(x: jax.Array) -> jax.Array:
    """Pad x [n, h, w, 1] with two zeros on each side, which takes 28 pixels to 32; leave other channels as they are."""
    pixels = margin(x.shape[-1])
    return jnp.pad(x, ((0, 0), (pixels, pixels), (pixels, pixels), (0, 0))) if pixels else x

"""The convolution of all networks, in the form that the backend runs fastest; the numbers are the same."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp


def convolution(features: int) -> nn.Conv:
    """Return a 3x3 convolution with bias that keeps height and width, zeros outside."""
    return nn.Conv(features, (3, 3), padding=1, conv_general_dilated=_convolve)


def _convolve(x: jax.Array, kernel: jax.Array, *arguments: Any, **options: Any) -> jax.Array:
    """Convolve x [n, h, w, c] with kernel [3, 3, c, features].

    XLA's CPU backend has fast kernels for an even number of channels only: images of 1 or 3 channels get one more, of
    zeros (forward pass of 1,024 images, three blocks of width 32, two cores: 130 -> 76 ms and 109 -> 81 ms).
    """
    if x.shape[-1] % 2 and jax.default_backend() == "cpu":
        x = jnp.pad(x, ((0, 0), (0, 0), (0, 0), (0, 1)))
        kernel = jnp.pad(kernel, ((0, 0), (0, 0), (0, 1), (0, 0)))
    return jax.lax.conv_general_dilated(x, kernel, *arguments, **options)

"""Layers besides convolutions, and their numerics: padding, normalisation, pooling and the head."""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.nn.initializers import Initializer
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Float32

from frepo.spec.architecture import GROUPS, BlockPooling, Normalization, Precision

SPATIAL_AND_CHANNELS = (-3, -2, -1)
MARGIN = 2


class Numerics(NamedTuple):
    """Dtype of activations, and precision of products of float32 numbers."""

    dtype: DTypeLike
    products: jax.lax.Precision


def numerics(precision: Precision) -> Numerics:
    """Return the numerics of `precision`; a device without TF32 (a CPU, an old GPU) uses full float32 instead."""
    match precision:
        case "float32":
            return Numerics(jnp.float32, jax.lax.Precision.HIGHEST)
        case "tf32":
            return Numerics(jnp.float32, jax.lax.Precision.HIGH)
        case "bfloat16":
            return Numerics(jnp.bfloat16, jax.lax.Precision.DEFAULT)


def margin(channels: int) -> int:
    """Return the number of pixels that `pad_one_channel` adds on each side."""
    return MARGIN if channels == 1 else 0


def pad_one_channel(x: Float[Array, "n h w c"]) -> Float[Array, "n h_out w_out c"]:
    """Pad x [n, h, w, 1] with two zeros on each side, from 28 pixels to 32; leave other channel counts unchanged."""
    pixels = margin(x.shape[-1])
    return jnp.pad(x, ((0, 0), (pixels, pixels), (pixels, pixels), (0, 0))) if pixels else x


def normalize(
    kind: Normalization, x: Float[Array, "n h w c"], *, train: bool, batch_momentum: float, dtype: DTypeLike
) -> Float[Array, "n h w c"]:
    """Apply one normalisation layer to x [n, h, w, c] inside a compact module.

    `batch` uses running averages unless `train`; `layer` has statistics and an affine map over all of h, w and c;
    `instance`, `group` (4 groups) and `one_group` (statistics over all of h, w and c) have an affine map per channel;
    `identity` leaves x as it is. Statistics are in float32, the result is `dtype`.
    """
    match kind:
        case "batch":
            return nn.BatchNorm(use_running_average=not train, momentum=batch_momentum, dtype=dtype)(x)
        case "layer":
            return nn.LayerNorm(reduction_axes=SPATIAL_AND_CHANNELS, feature_axes=SPATIAL_AND_CHANNELS, dtype=dtype)(x)
        case "instance":
            return nn.GroupNorm(num_groups=None, group_size=1, dtype=dtype)(x)
        case "group":
            return nn.GroupNorm(num_groups=GROUPS, dtype=dtype)(x)
        case "one_group":
            return nn.GroupNorm(num_groups=1, dtype=dtype)(x)
        case "identity":
            return x


def relu_pool(kind: BlockPooling, x: Float[Array, "n h w c"]) -> Float[Array, "n h_out w_out c"]:
    """Return the positive part of x [n, h, w, c], pooled over 2x2 pixels unless `kind` is `none`."""
    match kind:
        case "average":
            return relu_average_pool(x)
        case "max":
            return nn.max_pool(nn.relu(x), (2, 2), strides=(2, 2))
        case "none":
            return nn.relu(x)


def softplus_pool(kind: BlockPooling, x: Float[Array, "n h w c"], sharpness: float) -> Float[Array, "n h_out w_out c"]:
    """Return softplus(s x) / s of x [n, h, w, c], s = `sharpness`, pooled as by `relu_pool`; smooth, unlike that."""
    y = nn.softplus(sharpness * x) / sharpness
    match kind:
        case "average":
            n, height, width, channels = y.shape
            windows = y[:, : height // 2 * 2, : width // 2 * 2].reshape(n, height // 2, 2, width // 2, 2, channels)
            return windows.mean(axis=(2, 4))
        case "max":
            return nn.max_pool(y, (2, 2), strides=(2, 2))
        case "none":
            return y


@jax.custom_jvp
def relu_average_pool(x: Float[Array, "n h w c"]) -> Float[Array, "n h//2 w//2 c"]:
    """Return the means over 2x2 pixels of the positive part of x [n, h, w, c]; an odd last row or column is dropped.

    The derivative is explicit, because on a CPU the gradient of XLA's window sum takes three times as long as the
    transpose of a sum over axes.
    """
    return nn.avg_pool(nn.relu(x), (2, 2), strides=(2, 2))


@relu_average_pool.defjvp
def _derivative(primals: tuple[jax.Array], tangents: tuple[jax.Array]) -> tuple[jax.Array, jax.Array]:
    (x,), (x_dot,) = primals, tangents
    n, height, width, channels = x.shape
    positive = jnp.where(x > 0, x_dot, 0)[:, : height // 2 * 2, : width // 2 * 2]
    windows = positive.reshape(n, height // 2, 2, width // 2, 2, channels)
    return relu_average_pool(x), jnp.sum(windows, axis=(2, 4)) / 4


def dense_head(
    x: Float[Array, "n ..."],
    num_classes: int,
    precision: Precision,
    kernel_init: Initializer,
    bias_init: Initializer,
) -> tuple[Float32[Array, "n d"], Float32[Array, "n {num_classes}"]]:
    """Map x [n, ...] to (features [n, d], logits [n, num_classes]), both float32, inside a compact module."""
    dtype, products = numerics(precision)
    features = x.reshape(x.shape[0], -1)
    dense = nn.Dense(num_classes, dtype=dtype, precision=products, kernel_init=kernel_init, bias_init=bias_init)
    return features.astype(jnp.float32), dense(features).astype(jnp.float32)

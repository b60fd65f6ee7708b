"""ReLU and pooling."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from frepo.spec.architecture import BlockPooling


def relu_pool(kind: BlockPooling, x: jax.Array) -> jax.Array:
    """Return the positive part of x [n, h, w, c], pooled over 2x2 pixels unless `kind` is none."""
    match kind:
        case "average":
            return relu_average_pool(x)
        case "max":
            return nn.max_pool(nn.relu(x), (2, 2), strides=(2, 2))
        case "none":
            return nn.relu(x)


@jax.custom_jvp
def relu_average_pool(x: jax.Array) -> jax.Array:
    """Return the means over 2x2 pixels of the positive part of x [n, h, w, c]; an odd last row or column is dropped.

    The derivative is written out, because the gradient of XLA's window sum takes three times as long on a CPU as the
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

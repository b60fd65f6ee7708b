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


@jax.custom_vjp
def relu_average_pool(x: jax.Array) -> jax.Array:
    """Return the means over 2x2 pixels of the positive part of x [n, h, w, c]; an odd last row or column is dropped.

    The gradient is written out, because that of XLA's window sum takes three times as long on a CPU.
    """
    return nn.avg_pool(nn.relu(x), (2, 2), strides=(2, 2))


def _forward(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    return relu_average_pool(x), x


def _backward(x: jax.Array, cotangent: jax.Array) -> tuple[jax.Array]:
    _, height, width, _ = x.shape
    spread = jnp.repeat(jnp.repeat(cotangent, 2, axis=1), 2, axis=2)
    spread = jnp.pad(spread, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)))
    return (jnp.where(x > 0, spread / 4, 0),)


relu_average_pool.defvjp(_forward, _backward)

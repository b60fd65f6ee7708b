"""What ends every network."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.nn.initializers import Initializer, lecun_normal, zeros

from frepo.networks.precision import numerics
from frepo.spec.architecture import Precision

LECUN_NORMAL = lecun_normal()


def dense_head(
    x: jax.Array,
    num_classes: int,
    precision: Precision,
    kernel_init: Initializer = LECUN_NORMAL,
    bias_init: Initializer = zeros,
) -> tuple[jax.Array, jax.Array]:
    """Map x [n, ...] to (features [n, d], logits [n, num_classes]), both float32, inside a compact module."""
    dtype, products = numerics(precision)
    features = x.reshape(x.shape[0], -1)
    dense = nn.Dense(num_classes, dtype=dtype, precision=products, kernel_init=kernel_init, bias_init=bias_init)
    return features.astype(jnp.float32), dense(features).astype(jnp.float32)

"""Normalisation layers by the name a spec gives them."""

import flax.linen as nn
import jax
from jax.typing import DTypeLike

from frepo.spec.architecture import GROUPS, Normalization

SPATIAL_AND_CHANNELS = (-3, -2, -1)


def normalize(kind: Normalization, x: jax.Array, *, train: bool, batch_momentum: float, dtype: DTypeLike) -> jax.Array:
    """Apply one normalisation layer to x [n, h, w, c] inside a compact module.

    `batch` uses running averages unless `train`; `layer` has statistics and an affine map over all of h, w and c;
    `instance`, `group` (4 groups) and `one_group` (statistics over all of h, w and c) have an affine map per channel;
    `identity` does nothing.
    Statistics are taken in float32, the result is `dtype`.
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

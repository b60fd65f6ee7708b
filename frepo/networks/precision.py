"""What a network computes in, by the name a spec gives it. Parameters, features and logits are float32 always."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from frepo.spec.architecture import Precision


class Numerics(NamedTuple):
    """Dtype of activations, and how products of float32 numbers are taken."""

    dtype: DTypeLike
    products: jax.lax.Precision


def numerics(precision: Precision) -> Numerics:
    """Return what `precision` stands for; a device without TF32 (a CPU, an old GPU) takes full float32 in its place."""
    match precision:
        case "float32":
            return Numerics(jnp.float32, jax.lax.Precision.HIGHEST)
        case "tf32":
            return Numerics(jnp.float32, jax.lax.Precision.HIGH)
        case "bfloat16":
            return Numerics(jnp.bfloat16, jax.lax.Precision.DEFAULT)

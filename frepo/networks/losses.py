"""Losses of the distilled data and of the networks."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, Integer


def half_squared_error(prediction: Float[Array, "n C"], target: Float[Array, "n C"]) -> Float[Array, ""]:
    """Return the mean over examples of half the squared error summed over classes; both [n, C]."""
    return 0.5 * jnp.mean(jnp.sum((prediction - target) ** 2, axis=-1))


def cross_entropy(logits: Float[Array, "n C"], target: Float[Array, "n C"]) -> Float[Array, ""]:
    """Return the mean over examples of the cross-entropy of softmax(logits) against `target`; both [n, C]."""
    return -jnp.mean(jnp.sum(target * jax.nn.log_softmax(logits), axis=-1))


def label_margin(labels: Float[Array, "n c"], label_classes: int) -> Float[Array, ""]:
    """Return minus the mean over `labels` [n, c] of min(largest - second largest, 1/C), C = `label_classes`.

    Keeps learned labels decisive: it pulls while the margin is below 1/C (Zhou et al. 2022, section 3.3).
    """
    top = jax.lax.top_k(labels, 2)[0]
    return -jnp.mean(jnp.minimum(top[:, 0] - top[:, 1], 1 / label_classes))


def centered_one_hot(
    labels: Integer[Array | np.ndarray, " n"], num_classes: int, label_classes: int | None = None
) -> Float32[Array, "n {num_classes}"]:
    """Return one-hot labels minus 1/C, float32 [n, c], from integers [n].

    Both c and C are `num_classes`, unless these are a subset of `label_classes` classes; then C is `label_classes`.
    """
    return jax.nn.one_hot(labels, num_classes, dtype=jnp.float32) - 1 / (label_classes or num_classes)

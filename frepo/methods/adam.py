"""Adam written out, for solves and trainings inside a step: it is differentiated, and its epsilon counts."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

Params = Any
"""A pytree of arrays, as Flax keeps the weights of a network."""

B1, B2, EPS = 0.9, 0.999, 1e-8


class Adam(NamedTuple):
    """Where Adam has arrived, or the derivative of a loss with respect to it.

    Attributes:
        x: what it changes.
        first: mean of the gradients, like `x`.
        second: mean of their squares, like `x`.
    """

    x: Params
    first: Params
    second: Params


def started(x: Params) -> Adam:
    """Return Adam at `x`, before its first step."""
    return Adam(x, jax.tree.map(jnp.zeros_like, x), jax.tree.map(jnp.zeros_like, x))


def stepped(at: Adam, gradient: Params, number: Any, rate: Any) -> Adam:
    """Return where step `number`, int32 [] from 0, arrives (Kingma and Ba 2015, algorithm 1).

    The derivative of the root of the second moment is taken as 0 where it is 0: a weight whose gradient has always been
    0, as behind a ReLU that never fires.
    """
    count = number + 1.0
    first = jax.tree.map(lambda m, g: B1 * m + (1 - B1) * g, at.first, gradient)
    second = jax.tree.map(lambda v, g: B2 * v + (1 - B2) * g**2, at.second, gradient)
    m_scale, v_scale = 1 / (1 - B1**count), 1 / (1 - B2**count)

    def moved(x: jax.Array, m: jax.Array, v: jax.Array) -> jax.Array:
        root = jnp.where(v > 0, jnp.sqrt(jnp.where(v > 0, v * v_scale, 1.0)), 0.0)
        return x - rate * (m * m_scale) / (root + EPS)

    return Adam(jax.tree.map(moved, at.x, first, second), first, second)

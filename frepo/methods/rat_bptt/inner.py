"""A step of the training that is differentiated: Adam on the cross-entropy of distilled images, and its pullback."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from frepo.methods.base import DistilledData

Params = Any
"""A pytree of float32 arrays, as Flax keeps the weights of a network."""

Loss = Callable[[Params, DistilledData, Any], jax.Array]
"""(weights, distilled images with labels, number of the inner step) -> loss of its batch, float32 []."""

B1, B2, EPS = 0.9, 0.999, 1e-8


class Inner(NamedTuple):
    """A network in training, or the derivative of a loss with respect to it.

    Attributes:
        params: the weights.
        first: mean of the gradients, like the weights.
        second: mean of their squares, like the weights.
    """

    params: Params
    first: Params
    second: Params


def untrained(params: Params) -> Inner:
    """Return a network before its first step."""
    return Inner(params, jax.tree.map(jnp.zeros_like, params), jax.tree.map(jnp.zeros_like, params))


def adam(inner: Inner, gradient: Params, number: Any, rate: float) -> Inner:
    """Return the network after Adam's step `number`, int32 [] from 0 (Kingma and Ba 2015, algorithm 1).

    The derivative of the root of the second moment is taken as 0 where it is 0: a weight whose gradient has always been
    0, as behind a ReLU that never fires.
    """
    count = number + 1.0
    first = jax.tree.map(lambda m, g: B1 * m + (1 - B1) * g, inner.first, gradient)
    second = jax.tree.map(lambda v, g: B2 * v + (1 - B2) * g**2, inner.second, gradient)
    m_scale, v_scale = 1 / (1 - B1**count), 1 / (1 - B2**count)

    def moved(x: jax.Array, m: jax.Array, v: jax.Array) -> jax.Array:
        root = jnp.where(v > 0, jnp.sqrt(jnp.where(v > 0, v * v_scale, 1.0)), 0.0)
        return x - rate * (m * m_scale) / (root + EPS)

    return Inner(jax.tree.map(moved, inner.params, first, second), first, second)


def forward(loss: Loss, inner: Inner, data: DistilledData, number: Any, rate: float) -> tuple[Inner, Params]:
    """Return the network after step `number` on the distilled data, and the gradient before it."""
    gradient = jax.grad(loss)(inner.params, data, number)
    return adam(inner, gradient, number, rate), gradient


def backward(
    loss: Loss, inner: Inner, data: DistilledData, number: Any, rate: float, after: Inner
) -> tuple[Inner, DistilledData]:
    """Return the derivatives, with respect to the network before step `number` and to the data, of what has `after`.

    `after` are its derivatives with respect to the network after that step. The second derivatives of the loss are
    taken forward over reverse: the change of its gradient along one direction in the weights.
    """

    def gradients(params: Params) -> tuple[Params, DistilledData]:
        return jax.grad(loss, argnums=(0, 1))(params, data, number)

    (gradient, _), along = jax.linearize(gradients, inner.params)
    _, of_adam = jax.vjp(lambda inner, gradient: adam(inner, gradient, number, rate), inner, gradient)
    before, direction = of_adam(after)
    of_params, of_data = along(direction)
    return before._replace(params=jax.tree.map(jnp.add, before.params, of_params)), of_data

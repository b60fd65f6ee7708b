"""A step of the training that is differentiated: Adam on a loss of the distilled images, and its pullback."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from frepo.methods.adam import Adam, Params, stepped
from frepo.methods.base import DistilledData

Loss = Callable[[Params, DistilledData, Any], jax.Array]
"""(weights, distilled images with labels, number of the inner step) -> loss of its batch, float32 []."""


def forward(loss: Loss, inner: Adam, data: DistilledData, number: Any, rate: float) -> tuple[Adam, Params]:
    """Return the network after step `number` on the distilled data, and the gradient before it."""
    gradient = jax.grad(loss)(inner.x, data, number)
    return stepped(inner, gradient, number, rate), gradient


def backward(
    loss: Loss, inner: Adam, data: DistilledData, number: Any, rate: float, after: Adam
) -> tuple[Adam, DistilledData]:
    """Return the derivatives, with respect to the network before step `number` and to the data, of what has `after`.

    `after` are its derivatives with respect to the network after that step. The second derivatives of the loss are
    taken forward over reverse: the change of its gradient along one direction in the weights.
    """

    def gradients(params: Params) -> tuple[Params, DistilledData]:
        return jax.grad(loss, argnums=(0, 1))(params, data, number)

    (gradient, _), along = jax.linearize(gradients, inner.x)
    _, of_adam = jax.vjp(lambda inner, gradient: stepped(inner, gradient, number, rate), inner, gradient)
    before, direction = of_adam(after)
    of_params, of_data = along(direction)
    return before._replace(x=jax.tree.map(jnp.add, before.x, of_params)), of_data

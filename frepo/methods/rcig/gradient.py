"""The parts of RCIG's gradient with respect to the distilled data: direct, and implicit through the inner solution."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import struct
from jax.scipy.linalg import cho_solve

from frepo.methods.rcig.jacobian import Apply
from frepo.methods.rcig.proxy import Inner, Params, Support, along, kernel_factor
from frepo.networks.augmentation import both_sides
from frepo.networks.krr import FULL
from frepo.networks.losses import cross_entropy, label_margin


@struct.dataclass
class Learned:
    """What RCIG learns.

    Attributes:
        images: float32 [n, h, w, c], network inputs.
        labels: float32 [n, C], centred.
        temperature: float32 [], log of the factor of the logits in the outer loss.
    """

    images: Any
    labels: Any
    temperature: Any


class Parts(NamedTuple):
    """The images through which gradients flow, positions int32 [s]; None for all of them.

    All images count in the kernels and predictions. So the authors fit large sets into memory.
    """

    support: jax.Array | None = None
    targets: jax.Array | None = None


EVERYTHING = Parts()


def outer_loss(
    apply: Apply,
    params: Params,
    change: Params,
    learned: Learned,
    targets: tuple[jax.Array, jax.Array],
    inner: Inner,
    parts: Parts = EVERYTHING,
) -> tuple[jax.Array, jax.Array]:
    """Return the cross-entropy of the proxy on the targets with the labels' margin, and its accuracy in 0..1.

    The margin is sought up to 1/(2C), half of FRePo's.
    """
    images, labels = both_sides(learned.images, learned.labels, flip=inner.flip)
    f_SxD, g_SxC = _along(apply, params, change, images, parts.support, inner.chunk)
    f_TxD, g_TxC = _along(apply, params, change, targets[0], parts.targets, len(targets[0]))
    dual = cho_solve(kernel_factor(f_SxD, inner.ridge), labels - g_SxC)
    prediction = g_TxC + jnp.matmul(f_TxD, jnp.matmul(f_SxD.T, dual, precision=FULL), precision=FULL)
    loss = cross_entropy(prediction * jnp.exp(learned.temperature), targets[1])
    margin = label_margin(learned.labels, 2 * learned.labels.shape[-1])
    hits = jnp.argmax(prediction, axis=-1) == jnp.argmax(targets[1], axis=-1)
    return loss + margin, jnp.mean(hits)


def _along(
    apply: Apply, params: Params, change: Params, images: jax.Array, part: jax.Array | None, chunk: int
) -> tuple[jax.Array, jax.Array]:
    """Return what `along` does; with `part`, gradients flow through these images only."""
    if part is None:
        return along(apply, params, change, images, chunk)
    whole = jax.lax.stop_gradient(along(apply, params, change, images, chunk))
    some = along(apply, params, change, images[part], chunk)
    return whole[0].at[part].set(some[0]), whole[1].at[part].set(some[1])


def implicit_gradient(
    apply: Apply,
    params: Params,
    change: Params,
    solved: Params,
    learned: Learned,
    support: Support,
    inner: Inner,
    parts: Parts = EVERYTHING,
) -> Learned:
    """Return - d/d(images, labels) <v, dL_S/dd> for v = `solved` at d = `change`: c d/d(.) <J v, A (y - g)>."""

    def product(learned: Learned) -> jax.Array:
        images, labels = both_sides(learned.images, learned.labels, flip=inner.flip)
        f_SxD, g_SxC = _along(apply, params, change, images, parts.support, inner.chunk)
        dual = cho_solve(kernel_factor(f_SxD, inner.ridge), labels - g_SxC)
        return support.scale * jnp.vdot(
            _along(apply, params, solved, images, parts.support, inner.chunk)[1], dual, precision=FULL
        )

    return jax.grad(product)(learned)


def clipped(array: jax.Array, beside: jax.Array) -> jax.Array:
    """Return `array` scaled down to the norm of `beside` at most.

    What is not a number stays so and ends the stage; the authors' code makes zeros of it.
    """
    norm, limit = jnp.linalg.norm(array.ravel()), jnp.linalg.norm(beside.ravel())
    return jnp.where(norm > limit, array * (limit / norm), array)


def together(direct: Learned, implicit: Learned) -> Learned:
    """Return the gradient: direct, and implicit clipped for each array to the norm of the direct part."""
    return jax.tree.map(lambda d, i: d + clipped(i, d), direct, implicit)

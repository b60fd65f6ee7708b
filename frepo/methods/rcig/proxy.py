"""The inner problem of RCIG: a network linearised in a change of its weights, with a head solved in closed form.

The proxy of a network with weights t and features f is F(x) = g(x; d) + f(x) w: g(x; d) = J(x) d is the derivative of
its logits in the direction d of its weights, and w the ridge regression of what g leaves of the labels. The kernel of
the head has no part in d, since w takes its place. With K = f_S f_S^T, A = (K + l I)^-1 and c = l / (S C) the inner
loss is L_S(d) = c / 2 (tr((y - g)^T A (y - g)) + |d|^2), of which all derivatives are products with J and J^T.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import struct
from jax.scipy.linalg import cho_factor, cho_solve

from frepo.methods.adam import Params
from frepo.methods.rcig import jacobian
from frepo.methods.rcig.jacobian import Apply, is_head
from frepo.networks.chunks import in_chunks
from frepo.networks.krr import FULL


class Inner(NamedTuple):
    """The settings of the inner problem."""

    ridge: float
    """Added to the diagonal of the kernel: l2 times the number of images, mirror images not counted."""
    flip: bool
    chunk: int
    """Most distilled images that go through a network at once."""


@struct.dataclass
class Fixed:
    """What stays the same in the solves of a step.

    Attributes:
        factor: Cholesky factor of K + l I, float32 [S, S].
        jacobian: J, float32 [S, C, D], see `jacobian`; [0, C, D] where products go through the network.
    """

    factor: Any
    jacobian: Any


class Support(NamedTuple):
    """The support as the inner problem sees it."""

    jvp: Callable[[Params], jax.Array]
    """A change of the weights -> J d, float32 [S, C]."""
    vjp: Callable[[jax.Array], Params]
    """Its transpose, without the kernel of the head."""
    factor: Any
    """Cholesky factor of K + l I."""
    labels: jax.Array
    """float32 [S, C]."""
    scale: float
    """c = l / (S C)."""


def without_head(tree: Params) -> Params:
    """Return a tree like the weights with zeros for the kernel of the head."""
    return jax.tree_util.tree_map_with_path(lambda path, leaf: jnp.zeros_like(leaf) if is_head(path) else leaf, tree)


def kernel_factor(features: jax.Array, ridge: float) -> Any:
    """Return the Cholesky factor of f f^T + `ridge` I for features float32 [S, d], in full float32."""
    kernel = jnp.matmul(features, features.T, precision=FULL)
    return cho_factor(kernel + ridge * jnp.eye(len(kernel), dtype=jnp.float32), lower=True)


def along(
    apply: Apply, params: Params, direction: Params, images: jax.Array, chunk: int
) -> tuple[jax.Array, jax.Array]:
    """Return features [n, d] of images [n, h, w, c], and the derivative [n, C] of their logits along `direction`.

    At most `chunk` images go through the network at once, forwards and backwards.
    """

    def of(images: jax.Array) -> jax.Array:
        (features, _), (_, moved) = jax.jvp(lambda weights: apply(weights, images), (params,), (direction,))
        return jnp.concatenate([features, moved], axis=-1)

    both = in_chunks(of, images, chunk)
    classes = jax.eval_shape(apply, params, images[:1])[1].shape[-1]
    return both[:, :-classes], both[:, -classes:]


def fixed_of(apply: Apply, params: Params, images: jax.Array, classes: int, inner: Inner) -> Fixed:
    """Return what the solves share for the support [S, h, w, c]: J is yet to be written, if it is to be."""
    features = in_chunks(lambda x: apply(params, x)[0], images, inner.chunk)
    factor, _ = kernel_factor(features, inner.ridge)
    return Fixed(factor, jacobian.unwritten(params, len(images), classes))


def support_of(
    apply: Apply,
    params: Params,
    images: jax.Array,
    labels: jax.Array,
    inner: Inner,
    fixed: Fixed,
    part: jax.Array | None = None,
) -> Support:
    """Return the support [S, h, w, c] with labels [S, C] at the weights `params`.

    With `part`, positions int32 [s], the transpose J^T takes only these images in: the others count in J and K.
    """
    if len(fixed.jacobian):
        jvp, pulled = _products_written(fixed.jacobian, params, part)
    else:
        jvp, pulled = _products(apply, params, images, inner.chunk)
        if part is not None:
            pulled = _of_part(_products(apply, params, images[part], inner.chunk)[1], part)
    scale = inner.ridge / labels.size
    return Support(jvp, lambda r: without_head(pulled(r)), (fixed.factor, True), labels, scale)


def _products_written(
    written: jax.Array, params: Params, part: jax.Array | None
) -> tuple[Callable[[Params], jax.Array], Callable[[jax.Array], Params]]:
    def pulled(r: jax.Array) -> Params:
        kept = r if part is None else jnp.zeros_like(r).at[part].set(r[part])
        return jacobian.transposed(written, kept, params)

    return lambda change: jacobian.product(written, change), pulled


def _products(
    apply: Apply, params: Params, images: jax.Array, chunk: int
) -> tuple[Callable[[Params], jax.Array], Callable[[jax.Array], Params]]:
    """Return the products with J and J^T of the logits of images; of many images, computed anew in each of them."""
    if len(images) <= chunk:
        jvp = jax.linearize(lambda weights: apply(weights, images)[1], params)[1]
        transposed = jax.linear_transpose(jvp, params)
        return jvp, lambda r: transposed(r)[0]

    def many(direction: Params) -> jax.Array:
        return along(apply, params, direction, images, chunk)[1]

    return many, lambda r: jax.vjp(many, jax.tree.map(jnp.zeros_like, params))[1](r)[0]


def _of_part(pulled: Callable[[jax.Array], Params], part: jax.Array) -> Callable[[jax.Array], Params]:
    return lambda r: pulled(r[part])


def inner_gradient(support: Support, change: Params) -> tuple[Params, jax.Array]:
    """Return the gradient of L_S at a change of the weights, and L_S."""
    rest = support.labels - support.jvp(change)
    dual = cho_solve(support.factor, rest)
    loss = support.scale / 2 * (jnp.vdot(rest, dual, precision=FULL) + _dot(change, change))
    pulled = support.vjp(dual)
    return jax.tree.map(lambda d, p: support.scale * (d - p), change, pulled), loss


def hessian_product(support: Support, direction: Params) -> Params:
    """Return H v, H the second derivative of L_S: c (v + J^T A J v)."""
    pulled = support.vjp(cho_solve(support.factor, support.jvp(direction)))
    return jax.tree.map(lambda v, p: support.scale * (v + p), direction, pulled)


def hessian_gradient(support: Support, v: Params, target: Params) -> tuple[Params, jax.Array]:
    """Return the gradient of v^T H v / 2 - v^T target, which is 0 where H v = target, and v^T H v - 2 v^T target."""
    product = hessian_product(support, v)
    return jax.tree.map(jnp.subtract, product, target), _dot(v, product) - 2 * _dot(v, target)


def _dot(one: Params, other: Params) -> jax.Array:
    products = jax.tree.map(lambda a, b: jnp.vdot(a, b, precision=FULL), one, other)
    return jnp.sum(jnp.stack(jax.tree.leaves(products)))

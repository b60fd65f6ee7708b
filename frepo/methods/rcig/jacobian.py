"""The derivatives of a support's logits with respect to the weights, written out where they are few enough.

Each step of RCIG's two solves takes one product with J and one with its transpose. Through the network these cost a
pass forwards and three backwards; from memory, reading J twice.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from frepo.methods.adam import Params
from frepo.networks.krr import FULL

Apply = Callable[[Params, jax.Array], tuple[jax.Array, jax.Array]]
"""(weights, images [n, h, w, c]) -> (features [n, d], logits [n, C])."""

HEAD = ("Dense_0", "kernel")
MOST_BYTES = 2**30


def is_head(path: tuple[Any, ...]) -> bool:
    """Return whether a path in the weights is that of the head's kernel, which is no part of J."""
    return tuple(part.key for part in path) == HEAD


def unwritten(params: Params, count: int, classes: int) -> jax.Array:
    """Return zeros [count, C, D] to be filled by `rows`, or zeros [0, C, D] if J of `count` images is too large."""
    size = sum(leaf.size for path, leaf in jax.tree.leaves_with_path(params) if not is_head(path))
    dtype = jax.tree.leaves(params)[0].dtype
    fits = count * classes * size * dtype.itemsize <= MOST_BYTES
    return jnp.zeros((count if fits else 0, classes, size), dtype)


def rows(apply: Apply, params: Params, image: jax.Array) -> jax.Array:
    """Return J of one image [h, w, c], float32 [C, D]."""
    logits, pulled = jax.vjp(lambda weights: apply(weights, image[None])[1][0], params)
    return jax.vmap(lambda direction: flat(pulled(direction)[0]))(jnp.eye(len(logits), dtype=logits.dtype))


def product(jacobian: jax.Array, change: Params) -> jax.Array:
    """Return J d, float32 [S, C], for a change of the weights."""
    return jnp.matmul(_matrix(jacobian), flat(change), precision=FULL).reshape(jacobian.shape[:2])


def transposed(jacobian: jax.Array, rests: jax.Array, like: Params) -> Params:
    """Return J^T r for r float32 [S, C], a tree like the weights with zeros for the head's kernel."""
    found, start = jnp.matmul(rests.ravel(), _matrix(jacobian), precision=FULL), 0

    def part(path: tuple[Any, ...], leaf: jax.Array) -> jax.Array:
        nonlocal start
        if is_head(path):
            return jnp.zeros_like(leaf)
        start += leaf.size
        return found[start - leaf.size : start].reshape(leaf.shape)

    return jax.tree_util.tree_map_with_path(part, like)


def _matrix(jacobian: jax.Array) -> jax.Array:
    """Return J as a matrix [S C, D]: XLA's CPU backend is many times slower with an axis more."""
    return jacobian.reshape(-1, jacobian.shape[-1])


def flat(tree: Params) -> jax.Array:
    """Return the leaves of a tree like the weights as one vector [D], without the head's kernel."""
    leaves = jax.tree.leaves_with_path(tree)
    return jnp.concatenate([leaf.ravel() for path, leaf in leaves if not is_head(path)])

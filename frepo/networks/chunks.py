"""Features of the support in bounded memory."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped

from frepo.engine.blocks import on_cpu
from frepo.engine.devices import in_shares, share_evenly

Features = Callable[[jax.Array], jax.Array]


def in_chunks(features: Features, images: Shaped[Array, "n h w c"], chunk: int) -> Float[Array, "n d"]:
    """Return features [n, d] of images [n, h, w, c], computed in micro-batches of at most `chunk` images.

    The gradient recomputes a network's activations one micro-batch at a time instead of keeping them, so `chunk`
    bounds memory. It is the same gradient, with respect to the images and everything that `features` closes over, and
    is itself differentiable in both modes. On a CPU, `jax.jvp` of the features themselves is refused. `features` must
    treat images independently. A support of at most `chunk` images is computed at once, without recomputation.
    """
    count = len(images)
    if count <= chunk:
        return features(images)
    parts = -(-count // chunk)
    size = -(-count // parts)
    padded = jnp.pad(images, ((0, parts * size - count), *((0, 0) for _ in images.shape[1:])))
    pieces = padded.reshape(parts, size, *images.shape[1:])
    if on_cpu():  # where control flow makes convolutions slow
        done = jnp.concatenate(_one_after_the_other(features, list(pieces)))
    else:
        done = jax.lax.map(jax.checkpoint(features), pieces)
    return done.reshape(parts * size, -1)[:count]


def as_independent(
    features: Features, images: Shaped[Array, "n h w c"], chunk: int, *, together: bool
) -> Float[Array, "n d"]:
    """Return features [n, d] of images [n, h, w, c] on all devices, at most `chunk` images at once on each.

    With `together`, for networks with batch norm, all images go through the network at once: they are not independent.
    """
    if together:
        return features(share_evenly(images))
    return in_chunks(partial(in_shares, features), images, chunk)


def _one_after_the_other(features: Features, pieces: list[jax.Array]) -> tuple[jax.Array, ...]:
    """Return the features of each piece, computed strictly one piece after the other, forwards and backwards.

    XLA's CPU backend drops barriers and computes independent work in parallel, so a data dependency enforces the order:
    zero times the result that must come first is added to each piece.
    """
    function, constants = jax.closure_convert(features, pieces[0])

    def plain(pieces: list[jax.Array], constants: Sequence[Any]) -> tuple[jax.Array, ...]:
        done: list[jax.Array] = []
        for piece in pieces:
            done.append(function(_after(piece, *done[-1:]), *constants))
        return tuple(done)

    run = jax.custom_vjp(plain)

    def forward(pieces: list[jax.Array], constants: Sequence[Any]) -> Any:
        return plain(pieces, constants), (pieces, constants)  # plain, so that the gradient can be differentiated

    def backward(saved: tuple[list[jax.Array], Sequence[Any]], cotangents: tuple[jax.Array, ...]) -> Any:
        pieces, constants = saved
        gradients: list[jax.Array] = []
        of_constants = jax.tree.map(jnp.zeros_like, constants)
        for piece, cotangent in zip(pieces, cotangents, strict=True):
            held = _after(piece, cotangent, *gradients[-1:])
            gradient, more = jax.vjp(lambda x, c: function(x, *c), held, constants)[1](cotangent)
            gradients.append(gradient)
            of_constants = jax.tree.map(jnp.add, of_constants, more)
        return gradients, of_constants

    run.defvjp(forward, backward)
    return run(pieces, constants)


def _after(x: jax.Array, *others: jax.Array) -> jax.Array:
    return x + sum(0 * jnp.sum(other) for other in others)

"""Mixtures of the images of a batch and of their targets, inside a compiled step."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from frepo.spec.recipe import Mix

Mixture = Callable[[jax.Array, jax.Array, jax.Array, jax.Array], tuple[jax.Array, jax.Array]]


def mix(
    kind: Mix, alpha: float, key: Key[Array, ""], images: Float[Array, "n h w c"], targets: Float[Array, "n C"]
) -> tuple[Float[Array, "n h w c"], Float[Array, "n C"]]:
    """Return images float32 [n, h, w, c] and targets float32 [n, C], each mixed with another one of the batch.

    The share of an image in its mixture is drawn once for the batch, from Beta(`alpha`, `alpha`), and so is the other
    image of each, by a permutation. All losses are linear in their targets, up to a constant for `mse`, so that mixed
    targets give the mixture of losses of the authors' code.
    """
    share_key, order_key, place_key = jax.random.split(key, 3)
    share = jax.random.beta(share_key, alpha, alpha)
    order = jax.random.permutation(order_key, len(images))
    mixed, kept = KINDS[kind](place_key, share, images, images[order])
    return mixed, kept * targets + (1 - kept) * targets[order]


def _mixup(key: jax.Array, share: jax.Array, images: jax.Array, others: jax.Array) -> tuple[jax.Array, jax.Array]:  # noqa: ARG001
    """Blend whole images (Zhang et al. 2018)."""
    return share * images + (1 - share) * others, share


def _cutmix(key: jax.Array, share: jax.Array, images: jax.Array, others: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Paste a rectangle of the images' proportions, of a share of 1 - `share` of the area, around any pixel.

    What lies outside the image is cut off, and the share of the targets is that of the pixels (Yun et al. 2019).
    """
    height, width = images.shape[1:3]
    size = jnp.array([height, width])
    half = jnp.floor(size * jnp.sqrt(1 - share)).astype(jnp.int32) // 2
    center = jnp.floor(jax.random.uniform(key, (2,)) * size).astype(jnp.int32)
    (top, left), (bottom, right) = jnp.clip(center - half, 0, size), jnp.clip(center + half, 0, size)
    rows, columns = jnp.arange(height)[:, None], jnp.arange(width)[None, :]
    pasted = (rows >= top) & (rows < bottom) & (columns >= left) & (columns < right)
    return jnp.where(pasted[:, :, None], others, images), 1 - jnp.mean(pasted, dtype=jnp.float32)


KINDS: dict[Mix, Mixture] = {"mixup": _mixup, "cutmix": _cutmix}

"""The networks that are trained on the distilled images, and their two losses."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from frepo.data.residency import Take
from frepo.engine.devices import share_evenly
from frepo.methods.adam import Params
from frepo.methods.base import DistilledData
from frepo.methods.rat_bptt.inner import Loss
from frepo.networks.augmentation import augment
from frepo.networks.base import ImageNetwork
from frepo.networks.chunks import as_independent
from frepo.networks.losses import cross_entropy
from frepo.spec import RatBptt


def weights(model: ImageNetwork, image_shape: tuple[int, int, int], key: jax.Array) -> Params:
    """Return the weights of an untrained network."""
    return model.init(key, jnp.zeros((1, *image_shape)), train=False)["params"]


def logits(model: ImageNetwork, params: Params, images: jax.Array) -> jax.Array:
    """Return logits [n, C] of images [n, h, w, c]; batch norm uses the statistics of these images."""
    # Its running averages, which nothing reads here, are made anew.
    (_, found), _ = model.apply({"params": params}, images, train=True, mutable=["batch_stats"])
    return found


def inner_loss(model: ImageNetwork, settings: RatBptt, key: jax.Array) -> Loss:
    """Return the cross-entropy of the batch of an inner step, augmented, as a function of its number."""
    operations = settings.augmentation or ()

    def loss(params: Params, data: DistilledData, number: Any) -> jax.Array:
        chosen, augmented = jax.random.split(jax.random.fold_in(key, number))
        batch = _batch(settings, data, chosen)
        images = augment(operations, "one", augmented, batch.images, "dsa")
        return cross_entropy(logits(model, params, share_evenly(images)), batch.labels)

    return loss


def _batch(settings: RatBptt, data: DistilledData, key: jax.Array) -> DistilledData:
    """Return the distilled images of an inner step: some of each of some classes, each at most once."""
    ipc, classes = settings.ipc, data.labels.shape[-1]
    size, wanted = min(settings.batch_per_class or ipc, ipc), min(settings.classes_per_batch or classes, classes)
    if (size, wanted) == (ipc, classes):
        return data
    of_class, of_images = jax.random.split(key)
    drawn = jax.random.permutation(of_class, classes)[:wanted]
    within = jax.vmap(lambda key: jax.random.permutation(key, ipc)[:size])(jax.random.split(of_images, wanted))
    positions = (drawn[:, None] * ipc + within).ravel()
    return jax.tree.map(lambda leaf: leaf[positions], data)


def real_loss(
    model: ImageNetwork,
    settings: RatBptt,
    take: Take,
    chunk: int,
    params: Params,
    constants: Any,
    given: Any,
    key: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """Return cross-entropy and accuracy in 0..1 on a batch of real images, augmented."""
    inputs, classes = take(constants, given)
    images = augment(settings.augmentation or (), "one", key, inputs, "dsa")
    found = as_independent(partial(logits, model, params), images, chunk, together=model.normalization == "batch")
    hits = jnp.argmax(found, axis=-1) == classes
    return cross_entropy(found, jax.nn.one_hot(classes, found.shape[-1], dtype=jnp.float32)), jnp.mean(hits)

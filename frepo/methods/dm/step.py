"""One step of distribution matching: mean features of real and distilled images under a freshly drawn network."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import struct

from frepo.data.residency import Take
from frepo.engine.shared import shared
from frepo.methods.base import Array, DistilledData, StepConstants
from frepo.networks.base import ImageNetwork
from frepo.networks.chunks import Features, as_independent
from frepo.networks.siamese import siamese
from frepo.spec.learned import Siamese

Metrics = dict[str, jax.Array]


@struct.dataclass
class DmState:
    """The whole state of a resumed run besides spec and step, from which networks, batches and augmentations follow."""

    data: DistilledData
    """The images with fixed, centred one-hot labels."""
    opt_state: optax.OptState


class DmInput(NamedTuple):
    """The input of a step from the host."""

    step: Array
    batch: Any
    """Real images, equally many of each class, class by class; or the input from which the device makes them."""


DmStep = Callable[[DmState, StepConstants, DmInput], tuple[DmState, Metrics]]


@shared
def image_optimizer(learning_rate: float, momentum: float) -> optax.GradientTransformation:
    """Return the optimiser of the distilled images: gradient descent with momentum, at a constant rate."""
    return optax.sgd(learning_rate, momentum)


@shared
def make_initial(optimizer: optax.GradientTransformation) -> Callable[[DistilledData], DmState]:
    """Return what makes the state before step 0 of real images with their centred one-hot labels, class by class."""

    def initial(start: DistilledData) -> DmState:
        data = jax.tree.map(jnp.copy, start)  # the next step donates the buffers of its state
        return DmState(data, optimizer.init(data.images))

    return initial


@shared
def make_step(
    model: ImageNetwork,
    take: Take,
    optimizer: optax.GradientTransformation,
    operations: tuple[Siamese, ...],
    chunk: int,
) -> DmStep:
    """Return `step(state, constants, given) -> (state, metrics)`.

    It draws a fresh network and, for each class, one operation for its real and its distilled images (Zhao and Bilen
    2023, algorithm 1). At most `chunk` images go through the network at once, see `embedding`.
    """

    def step(state: DmState, constants: StepConstants, given: DmInput) -> tuple[DmState, Metrics]:
        num_classes = state.data.labels.shape[-1]
        network_key, augmentation_key = jax.random.split(
            jax.random.fold_in(jax.random.wrap_key_data(constants.key), given.step)
        )
        embed = embedding(model, state.data.images.shape[1:], network_key, chunk)
        augment = partial(augment_classes, operations, jax.random.split(augmentation_key, num_classes))

        def means(images: jax.Array) -> jax.Array:
            return class_means(embed(augment(images)), num_classes)

        real, _ = take(constants.images, given.batch)
        wanted = means(real)
        loss, gradient = jax.value_and_grad(lambda images: matching_loss(means(images), wanted))(state.data.images)
        updates, opt_state = optimizer.update(gradient, state.opt_state)
        images: Any = optax.apply_updates(state.data.images, updates)
        return DmState(DistilledData(images, state.data.labels), opt_state), {"matching_loss": loss}

    return step


def embedding(model: ImageNetwork, image_shape: tuple[int, ...], key: jax.Array, chunk: int) -> Features:
    """Return a freshly initialised network as a map from images [n, h, w, c] to features [n, d], before its head.

    Batch norm uses the statistics of its current images, as in the authors' code: an untrained network has no useful
    running averages. All images go through such a network at once, through others in micro-batches of `chunk`.
    """
    variables = model.init(key, jnp.zeros((1, *image_shape)), train=False)

    def features(images: jax.Array) -> jax.Array:
        (found, _), _ = model.apply(variables, images, train=True, mutable=["batch_stats"])
        return found

    return partial(as_independent, features, chunk=chunk, together=model.normalization == "batch")


def augment_classes(operations: tuple[Siamese, ...], keys: jax.Array, images: jax.Array) -> jax.Array:
    """Return images [C * m, h, w, c], class by class, after one operation per class, drawn from keys [C]."""
    classes = images.reshape(len(keys), -1, *images.shape[1:])
    return jax.vmap(partial(siamese, operations))(keys, classes).reshape(images.shape)


def class_means(features: jax.Array, num_classes: int) -> jax.Array:
    """Return means [C, d] of features [C * m, d], ordered class by class."""
    return features.reshape(num_classes, -1, features.shape[-1]).mean(axis=1)


def matching_loss(means: jax.Array, wanted: jax.Array) -> jax.Array:
    """Return the squared distances between mean features [C, d] of distilled and real images, summed over classes."""
    return jnp.sum((means - wanted) ** 2)

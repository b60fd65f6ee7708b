"""One step of FRePo: regress, update the distilled data, train or replace the pool network."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from frepo.data.residency import Take
from frepo.engine.blocks import branch
from frepo.engine.devices import in_shares
from frepo.engine.shared import shared
from frepo.methods.base import Array, DistilledData, StepConstants
from frepo.methods.frepo.state import DistillState
from frepo.methods.pool import PoolTraining
from frepo.networks.augmentation import both_sides
from frepo.networks.chunks import in_chunks
from frepo.networks.krr import krr_predict
from frepo.networks.losses import centered_one_hot, half_squared_error, label_margin
from frepo.networks.training import Network
from frepo.spec import Frepo

Metrics = dict[str, jax.Array]


class StepInput(NamedTuple):
    """The input of a step from the host; it follows from (seed, step)."""

    step: Array
    member: Array
    """Index of the step's pool network."""
    replace: Any
    """Whether the step replaces that network instead of training it: a choice."""
    batch: Any
    """The target batch, or the input from which the device makes it."""


def meta_optimizer(settings: Frepo) -> optax.GradientTransformation:
    """Return the optimiser of the distilled data: LAMB or Adam, with cosine decay to a tenth over all steps."""
    schedule = optax.cosine_decay_schedule(settings.learning_rate, settings.steps, alpha=0.1)
    return {"lamb": optax.lamb, "adam": optax.adam}[settings.optimizer](schedule)


def meta_loss(
    data: DistilledData,
    features: Callable[[jax.Array], jax.Array],
    f_TxD: jax.Array,
    y_TxC: jax.Array,
    label_classes: int,
    settings: Frepo,
) -> tuple[jax.Array, Metrics]:
    """Return the loss of the distilled data on one target batch, and its metrics.

    Half squared error of the regression from support to target, plus the label margin if labels are learned
    (Zhou et al. 2022, section 3). With `flip` the support is the images and their mirror images, labels twice.
    """
    images, labels = both_sides(data.images, data.labels, flip=settings.flip)
    prediction = krr_predict(f_TxD, features(images), labels, settings.reg)
    error = half_squared_error(prediction, y_TxC)
    loss = error + label_margin(data.labels, label_classes) if settings.learn_labels else error
    hits = jnp.argmax(prediction, axis=-1) == jnp.argmax(y_TxC, axis=-1)
    return loss, {"loss": loss, "krr_error": error, "krr_accuracy": jnp.mean(hits)}


DistillStep = Callable[[DistillState, StepConstants, StepInput], tuple[DistillState, Metrics]]


@shared
def make_step(
    settings: Frepo,
    training: PoolTraining,
    take: Take,
    label_classes: int,
    chunk: int,
) -> DistillStep:
    """Return `step(state, constants, given) -> (state, metrics)`.

    `take` gives a target batch, whose labels are centred among `label_classes` classes. The support goes through the
    network in micro-batches of at most `chunk` images.
    """
    optimizer = meta_optimizer(settings)

    def step(state: DistillState, constants: StepConstants, given: StepInput) -> tuple[DistillState, Metrics]:
        member = jax.tree.map(lambda leaf: leaf[given.member], state.pool)

        def features(images: jax.Array) -> jax.Array:
            return in_shares(partial(training.features, member), images)

        images, labels = take(constants.images, given.batch)
        f_TxD = features(images)
        y_TxC = centered_one_hot(labels, state.data.labels.shape[-1], label_classes)

        def loss(learned: DistilledData) -> tuple[jax.Array, Metrics]:
            in_parts = partial(in_chunks, features, chunk=chunk)
            return meta_loss(learned, in_parts, f_TxD, y_TxC, label_classes, settings)

        gradient, metrics = jax.grad(loss, has_aux=True)(state.data)
        data, opt_state = _update(optimizer, settings, gradient, state)

        step_key = jax.random.fold_in(jax.random.wrap_key_data(constants.key), given.step)

        def train(_: None) -> Network:
            return training.train(member, data, step_key)

        def start_anew(_: None) -> Network:
            return training.trainer.fresh(step_key)

        member = branch(given.replace, start_anew, train, None)
        pool = jax.tree.map(lambda all_, one: all_.at[given.member].set(one), state.pool, member)
        return DistillState(data, opt_state, pool, state.best), metrics

    return step


def _update(
    optimizer: optax.GradientTransformation, settings: Frepo, gradient: DistilledData, state: DistillState
) -> tuple[DistilledData, optax.OptState]:
    """Apply one optimiser step to the images, and to the labels if they are learned."""
    learned = learned_part(state.data, settings)
    updates, opt_state = optimizer.update(learned_part(gradient, settings), state.opt_state, learned)
    updated: Any = optax.apply_updates(learned, updates)
    return DistilledData(updated["images"], updated.get("labels", state.data.labels)), opt_state


def learned_part(data: DistilledData, settings: Frepo) -> dict[str, jax.Array]:
    """Return the arrays that the optimiser updates; the images are one tensor (LAMB's trust ratio is per tensor)."""
    images = {"images": data.images}
    return {**images, "labels": data.labels} if settings.learn_labels else images

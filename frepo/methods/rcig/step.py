"""One step of RCIG: its gradient, the update of what is learned and of its average, and the training of the network."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import struct

from frepo.data.residency import TrainingImages
from frepo.engine.blocks import branch
from frepo.methods.base import Array, DistilledData
from frepo.methods.frepo.step import StepConstants
from frepo.methods.pool import PoolTraining
from frepo.methods.rcig.gradient import Inner, Learned, Parts, data_gradient
from frepo.methods.rcig.proxy import Params, repeated
from frepo.methods.rcig.rates import Rates, adapted
from frepo.networks.augmentation import both_sides
from frepo.networks.training import Network
from frepo.spec import Rcig

Metrics = dict[str, jax.Array]

PARTS = 1_000_000
"""Folded into a step's key for the images through which gradients flow; training steps take the numbers from 0."""

EARLIER_BELIEF = 0.9
"""optax's AdaBelief before 0.2.8 takes its error against the mean before, 1 / 0.9 of today's: steps are 0.9 as long."""


@struct.dataclass
class RcigState:
    """The whole state of a resumed run besides spec and step.

    Attributes:
        learned: images, labels and temperature.
        opt_state: of AdaBelief.
        average: `learned`, averaged exponentially, from zero and not yet corrected for that.
        pool: all pool networks, stacked on a leading axis.
        rates: of the inner solves.
    """

    learned: Learned
    opt_state: optax.OptState
    average: Learned
    pool: Network
    rates: Rates


class RcigInput(NamedTuple):
    """The input of a step from the host; it follows from (seed, step)."""

    step: Array
    member: Array
    """Index of the step's pool network."""
    updates: Array
    """Training steps of that network in this step."""
    replace: Any
    """Whether the step replaces that network instead of training it: a choice."""
    batch: Any
    """The target batch, or the input from which the device makes it."""


def belief() -> optax.GradientTransformation:
    """Return AdaBelief without a learning rate (Zhuang et al. 2020), its steps as long as the authors' of RCIG."""
    return optax.chain(optax.scale_by_belief(eps=1e-16, eps_root=1e-16), optax.scale(-EARLIER_BELIEF))


def averaged(state: RcigState, decay: float, steps: Any) -> Learned:
    """Return the average of what is learned after `steps` steps, corrected for its start at zero."""
    return jax.tree.map(lambda leaf: leaf / (1 - decay**steps), state.average)


RcigStep = Callable[[RcigState, StepConstants, RcigInput], tuple[RcigState, Metrics]]


def make_step(settings: Rcig, training: PoolTraining, target: TrainingImages, inner: Inner) -> RcigStep:
    """Return `step(state, constants, given) -> (state, metrics)`."""
    optimizer = belief()
    of_labels = settings.learning_rate if settings.learn_labels else 0.0
    lengths = Learned(settings.learning_rate, of_labels, settings.temperature_learning_rate)

    def step(state: RcigState, constants: StepConstants, given: RcigInput) -> tuple[RcigState, Metrics]:
        member = jax.tree.map(lambda leaf: leaf[given.member], state.pool)
        images, classes = target.take(constants.images, given.batch)
        num_classes = state.learned.labels.shape[-1]
        targets = images, jax.nn.one_hot(classes, num_classes, dtype=jnp.float32)
        found = data_gradient(
            applied(training, member),
            member.params,
            state.learned,
            targets,
            (state.rates.inner, state.rates.hessian),
            inner,
            drawn_parts(settings, len(state.learned.images), _key_of(constants, given)),
        )
        gradient: Any = found.gradient
        updates, opt_state = optimizer.update(gradient, state.opt_state)
        learned: Any = jax.tree.map(lambda x, u, rate: x + rate * u, state.learned, updates, lengths)
        average = jax.tree.map(lambda a, x: settings.ema * a + (1 - settings.ema) * x, state.average, learned)
        member = _trained(training, member, learned, given, constants, settings)
        pool = jax.tree.map(lambda all_, one: all_.at[given.member].set(one), state.pool, member)
        rates = adapted(state.rates, found.inner_losses, given.step)
        metrics = {
            "loss": found.loss,
            "proxy_accuracy": found.accuracy,
            "inner_loss": found.inner_losses[-1],
            "inner_rate": state.rates.inner,
            "temperature": jnp.exp(learned.temperature),
        }
        return RcigState(learned, opt_state, average, pool, rates), metrics

    return step


def drawn_parts(settings: Rcig, count: int, key: jax.Array) -> Parts:
    """Return the images through which gradients flow in a step: of `count` distilled ones, and of the target batch."""

    def drawn(key: jax.Array, total: int, size: int | None) -> jax.Array | None:
        return None if size is None or size >= total else jax.random.permutation(key, total)[:size]

    of_support, of_targets = jax.random.split(jax.random.fold_in(key, PARTS))
    seen = 2 * count if settings.flip else count
    return Parts(
        drawn(of_support, seen, settings.support_gradients),
        drawn(of_targets, settings.batch_size, settings.target_gradients),
    )


def _key_of(constants: StepConstants, given: RcigInput) -> jax.Array:
    return jax.random.fold_in(jax.random.wrap_key_data(constants.key), given.step)


def applied(training: PoolTraining, network: Network) -> Callable[[Params, jax.Array], tuple[jax.Array, jax.Array]]:
    """Return (weights, images) -> (features, logits) of a network, with its own running averages."""

    def apply(params: Params, images: jax.Array) -> tuple[jax.Array, jax.Array]:
        return training.trainer.apply(network.replace(params=params), images)  # pyright: ignore[reportAttributeAccessIssue]

    return apply


def _trained(
    training: PoolTraining,
    member: Network,
    learned: Learned,
    given: RcigInput,
    constants: StepConstants,
    settings: Rcig,
) -> Network:
    """Return the network after its training steps on the distilled data just updated, or a fresh one."""
    images, labels = both_sides(learned.images, learned.labels, flip=settings.flip)
    step_key = _key_of(constants, given)

    def train(_: None) -> Network:
        def once(network: Network, number: Any) -> tuple[Network, jax.Array]:
            key = jax.random.fold_in(step_key, jnp.int32(number))
            trained = training.train(network, DistilledData(images, labels), key)
            kept = jax.tree.map(lambda new, old: jnp.where(number < given.updates, new, old), trained, network)
            return kept, jnp.float32(0)

        return repeated(once, member, settings.max_pool_updates)[0]

    return branch(given.replace, lambda _: training.trainer.fresh(step_key), train, None)

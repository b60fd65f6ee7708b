"""One step of RCIG, in phases: its inner solve, the gradients, the update, and the training of the network.

(Loo, Hasani, Lechner and Rus 2023, algorithm 1.)
"""

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import struct

from frepo.data.residency import Take
from frepo.engine.phases import Phase, Phased
from frepo.methods.adam import Adam, Params, started, stepped
from frepo.methods.base import Array, DistilledData, StepConstants
from frepo.methods.pool import PoolTraining
from frepo.methods.rcig.gradient import Learned, Parts, implicit_gradient, outer_loss, together
from frepo.methods.rcig.jacobian import Apply, rows
from frepo.methods.rcig.proxy import (
    Fixed,
    Inner,
    Support,
    fixed_of,
    hessian_gradient,
    inner_gradient,
    support_of,
    without_head,
)
from frepo.methods.rcig.rates import Rates, adapted
from frepo.networks.augmentation import both_sides
from frepo.networks.training import Network
from frepo.spec import Rcig

EARLIER_BELIEF = 0.9
"""optax's AdaBelief before 0.2.8 takes its error against the mean before, 1 / 0.9 of today's: steps are 0.9 as long."""
PARTS = 1_000_000
"""Folded into a step's key for the images through which gradients flow; training steps take the numbers from 0."""


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
    """Whether the step replaces that network instead of training it."""
    batch: Any
    """The target batch, or the input from which the device makes it."""


@struct.dataclass
class Course:
    """A step on its way.

    Attributes:
        learned: before the update, then after it.
        opt_state: likewise.
        network: of the pool.
        fixed: what the solves share.
        solve: of the inner problem, then of the product with the inverse Hessian.
        change: the solution of the inner problem.
        pull: derivatives of the outer loss with respect to it.
        direct: derivatives of the outer loss with respect to what is learned, at this change.
        rates: of the two solves.
        losses: before each step of the inner solve, float32 [inner_steps].
        residuals: v^T H v - 2 v^T g before each step of the other one, float32 [hessian_steps].
        loss: the outer loss, float32 [].
        accuracy: of the proxy on the target batch, float32 [], in 0..1.
    """

    learned: Learned
    opt_state: optax.OptState
    network: Network
    fixed: Fixed
    solve: Adam
    change: Params
    pull: Params
    direct: Learned
    rates: Rates
    losses: Any
    residuals: Any
    loss: Any
    accuracy: Any


def belief() -> optax.GradientTransformation:
    """Return AdaBelief without a learning rate (Zhuang et al. 2020), its steps as long as the authors' of RCIG."""
    return optax.chain(optax.scale_by_belief(eps=1e-16, eps_root=1e-16), optax.scale(-EARLIER_BELIEF))


def averaged(state: RcigState, decay: float, steps: Any) -> Learned:
    """Return the average of what is learned after `steps` steps, corrected for its start at zero."""
    return jax.tree.map(lambda leaf: leaf / (1 - decay**steps), state.average)


def applied(training: PoolTraining, network: Network) -> Apply:
    """Return (weights, images) -> (features, logits) of a network, with its own running averages."""
    return lambda params, images: training.trainer.apply(replace(network, params=params), images)


@dataclass(frozen=True, eq=False)
class RcigStep:
    """The phases of a step."""

    settings: Rcig
    training: PoolTraining
    take: Take
    inner: Inner

    def phased(self) -> Phased:
        """Return `step(state, constants, given) -> (state, metrics)`."""
        return Phased(
            self.begin,
            (
                Phase(self.write, lambda course, _: jnp.int32(len(course.fixed.jacobian))),
                Phase(self.solve, lambda *_: jnp.int32(self.settings.inner_steps)),
                Phase(self.test, _once),
                Phase(self.solve_hessian, lambda *_: jnp.int32(self.settings.hessian_steps)),
                Phase(self.update, _once),
                Phase(self.train, lambda _, given: jnp.where(given.replace, 0, given.updates)),
                Phase(self.renew, lambda _, given: jnp.int32(given.replace)),
            ),
            self.finish,
        )

    def begin(self, state: RcigState, constants: StepConstants, given: RcigInput) -> Course:
        """Return the network of the step, with nothing solved."""
        del constants
        network = jax.tree.map(lambda leaf: leaf[given.member], state.pool)
        images, labels = both_sides(state.learned.images, state.learned.labels, flip=self.inner.flip)
        fixed = fixed_of(applied(self.training, network), network.params, images, labels.shape[-1], self.inner)
        start = started(jax.tree.map(jnp.zeros_like, network.params))
        losses, residuals = jnp.zeros(self.settings.inner_steps), jnp.zeros(self.settings.hessian_steps)
        direct = jax.tree.map(jnp.zeros_like, state.learned)
        parts = state.learned, state.opt_state, network, fixed, start, start.x, start.x, direct, state.rates
        return Course(*parts, losses, residuals, jnp.zeros(()), jnp.float32(0))

    def write(self, course: Course, constants: StepConstants, given: RcigInput, number: Any) -> Course:
        """Write the derivatives of an image's logits into J, where J has room for them."""
        del constants, given
        if not len(course.fixed.jacobian):  # traced all the same, to be repeated no time
            return course
        images, _ = both_sides(course.learned.images, course.learned.labels, flip=self.inner.flip)
        of_image = rows(applied(self.training, course.network), course.network.params, images[number])
        jacobian = course.fixed.jacobian.at[number].set(of_image)
        return replace(course, fixed=replace(course.fixed, jacobian=jacobian))

    def solve(self, course: Course, constants: StepConstants, given: RcigInput, number: Any) -> Course:
        """Take a step of the inner solve."""
        gradient, loss = inner_gradient(self._support(course, constants, given), course.solve.x)
        solve = stepped(course.solve, gradient, number, course.rates.inner)
        return replace(course, solve=solve, change=solve.x, losses=course.losses.at[number].set(loss))

    def test(self, course: Course, constants: StepConstants, given: RcigInput, number: Any) -> Course:
        """Take the derivatives of the outer loss at the solution, and begin the other solve."""
        del number
        images, classes = self.take(constants.images, given.batch)
        one_hot = jax.nn.one_hot(classes, course.learned.labels.shape[-1], dtype=jnp.float32)
        apply, parts = applied(self.training, course.network), self._parts(course, constants, given)

        def outer(change: Params, learned: Learned) -> tuple[jax.Array, jax.Array]:
            targets = images, one_hot
            return outer_loss(apply, course.network.params, change, learned, targets, self.inner, parts)

        differentiated = jax.value_and_grad(outer, argnums=(0, 1), has_aux=True)
        (loss, accuracy), (pull, direct) = differentiated(course.change, course.learned)
        start = started(jax.tree.map(jnp.zeros_like, course.change))
        return replace(course, solve=start, pull=without_head(pull), direct=direct, loss=loss, accuracy=accuracy)

    def solve_hessian(self, course: Course, constants: StepConstants, given: RcigInput, number: Any) -> Course:
        """Take a step of the solve with the Hessian."""
        support = self._support(course, constants, given)
        gradient, residual = hessian_gradient(support, course.solve.x, course.pull)
        solve = stepped(course.solve, gradient, number, course.rates.hessian)
        return replace(course, solve=solve, residuals=course.residuals.at[number].set(residual))

    def update(self, course: Course, constants: StepConstants, given: RcigInput, number: Any) -> Course:
        """Add the implicit gradient, and update what is learned."""
        del number
        apply, parts = applied(self.training, course.network), self._parts(course, constants, given)
        weights, change, solved = course.network.params, course.change, course.solve.x
        support = self._support(course, constants, given)
        implicit = implicit_gradient(apply, weights, change, solved, course.learned, support, self.inner, parts)
        gradient: Any = together(course.direct, implicit)
        updates, opt_state = belief().update(gradient, course.opt_state)
        settings = self.settings
        of_labels = settings.learning_rate if settings.learn_labels else 0.0
        lengths = Learned(settings.learning_rate, of_labels, settings.temperature_learning_rate)
        learned: Any = jax.tree.map(lambda x, u, rate: x + rate * u, course.learned, updates, lengths)
        return replace(course, learned=learned, opt_state=opt_state)

    def train(self, course: Course, constants: StepConstants, given: RcigInput, number: Any) -> Course:
        """Train the network by one step on the data just updated."""
        images, labels = both_sides(course.learned.images, course.learned.labels, flip=self.inner.flip)
        key = jax.random.fold_in(_key_of(constants, given), number)
        return replace(course, network=self.training.train(course.network, DistilledData(images, labels), key))

    def renew(self, course: Course, constants: StepConstants, given: RcigInput, number: Any) -> Course:
        """Put a fresh network in the place of one that is old."""
        del number
        return replace(course, network=self.training.trainer.fresh(_key_of(constants, given)))

    def finish(
        self, state: RcigState, course: Course, constants: StepConstants, given: RcigInput
    ) -> tuple[RcigState, dict[str, jax.Array]]:
        """Return the state with the network back in the pool, and the average moved on."""
        del constants
        pool = jax.tree.map(lambda all_, one: all_.at[given.member].set(one), state.pool, course.network)
        ema, learned = self.settings.ema, course.learned
        average = jax.tree.map(lambda a, x: ema * a + (1 - ema) * x, state.average, learned)
        metrics = {
            "loss": course.loss,
            "proxy_accuracy": course.accuracy,
            "inner_loss": course.losses[-1],
            "inner_rate": state.rates.inner,
            "temperature": jnp.exp(learned.temperature),
        }
        rates = adapted(state.rates, course.losses, given.step)
        return RcigState(learned, course.opt_state, average, pool, rates), metrics

    def _parts(self, course: Course, constants: StepConstants, given: RcigInput) -> Parts:
        return drawn_parts(self.settings, len(course.learned.images), _key_of(constants, given))

    def _support(self, course: Course, constants: StepConstants, given: RcigInput) -> Support:
        images, labels = both_sides(course.learned.images, course.learned.labels, flip=self.inner.flip)
        apply, part = applied(self.training, course.network), self._parts(course, constants, given).support
        return support_of(apply, course.network.params, images, labels, self.inner, course.fixed, part)


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


def _once(*_: Any) -> jax.Array:
    return jnp.int32(1)

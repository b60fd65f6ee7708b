"""One step: a network is trained, tested on real images, and the last steps of its training are differentiated.

The gradient is exact: the networks of the window are kept, and each step is pulled back from the one it ends in. So
memory grows with the window, by three copies of the weights for each of its steps, and not with the steps before it.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import struct

from frepo.engine.phases import Phase, Phased
from frepo.methods.adam import Adam, Params, started
from frepo.methods.base import Array, DistilledData, StepConstants
from frepo.methods.rat_bptt.inner import Loss, backward, forward
from frepo.methods.rat_bptt.placement import MIDDLE, Placed, drawn, fixed, looked_at
from frepo.spec import RatBptt

CLIP, NORM_MEMORY = 2.0, 0.9
"""The gradient of the images is clipped to this multiple of the running mean of its norm, which it enters first."""

TestLoss = Callable[[Params, Any, Any, jax.Array], tuple[jax.Array, jax.Array]]
"""(weights, constants, real batch from the host, key) -> loss and accuracy in 0..1."""


@struct.dataclass
class RatState:
    """The whole state of a resumed run besides spec and step.

    Attributes:
        data: images, and labels that are one-hot at the start: not centred.
        opt_state: of Adam.
        norm: float32 [], running mean of the norm of the images' gradient; negative before the first.
        placed: of an adaptive window; else None.
    """

    data: DistilledData
    opt_state: optax.OptState
    norm: Any
    placed: Placed | None


class RatInput(NamedTuple):
    """The input of a step from the host; it follows from (seed, step)."""

    step: Array
    prefix: Array
    """Steps before the window; not read if it is adaptive."""
    first: Array
    """1 for the first step of a pass over the real images, else 0; `last` likewise."""
    last: Array
    batch: Any
    """Real images, or the input from which the device makes them."""


@struct.dataclass
class Course:
    """A network on its course, and its way back.

    Attributes:
        data: as in `RatState`.
        inner: the network now.
        window: the networks before each step of the window, on a leading axis.
        after: derivatives of the test loss with respect to the network after the step that is pulled back next.
        gradient: derivatives with respect to the data, of the steps pulled back.
        placed: where the window lies.
        norms: of the gradients along the way, float32 [total]; for an adaptive window, else [0].
        loss: of the test, float32 [].
        accuracy: of the test, float32 [], in 0..1.
    """

    data: DistilledData
    inner: Adam
    window: Adam
    after: Adam
    gradient: DistilledData
    placed: Any
    norms: Any
    loss: Any
    accuracy: Any


class Parts(NamedTuple):
    """What a step is made of besides its settings."""

    fresh: Callable[[jax.Array], Params]
    """From a key to the weights of an untrained network."""
    loss: Callable[[jax.Array], Loss]
    """From a step's key to the loss of its inner steps."""
    test: TestLoss
    optimizer: optax.GradientTransformation


def image_optimizer(learning_rate: float) -> optax.GradientTransformation:
    """Return the optimiser of the distilled images: Adam at a constant rate."""
    return optax.adam(learning_rate)


def learned_part(data: DistilledData, settings: RatBptt) -> Any:
    """Return what the optimiser updates."""
    return (data.images, data.labels) if settings.learn_labels else (data.images,)


@dataclass(frozen=True, eq=False)
class RatStep:
    """The phases of a step."""

    settings: RatBptt
    parts: Parts
    steps_of_pass: int

    def phased(self) -> Phased:
        """Return `step(state, constants, given) -> (state, metrics)`."""
        once = jnp.int32(1)
        look = (
            Phase(self.walk, lambda course, given: given.first * (course.placed.stage != MIDDLE) * self.settings.total),
            Phase(self.place, lambda _, given: given.first),
        )
        phases = (
            *(look if self._adaptive else ()),
            Phase(self.walk, lambda course, _: course.placed.prefix + course.placed.size),
            Phase(self.test, lambda *_: once),
            Phase(self.pull, lambda course, _: course.placed.size),
        )
        return Phased(self.begin, phases, self.finish)

    def begin(self, state: RatState, constants: StepConstants, given: RatInput) -> Course:
        """Return an untrained network, and where its window lies."""
        inner = started(self.parts.fresh(_keys(constants, given).network))
        slots = self.settings.longest_window
        window = jax.tree.map(lambda leaf: jnp.zeros((slots, *leaf.shape), leaf.dtype), inner)
        after, gradient = jax.tree.map(jnp.zeros_like, (inner, state.data))
        placed = fixed(given.prefix, self.settings.window) if state.placed is None else state.placed
        norms, none = jnp.zeros(self.settings.total if self._adaptive else 0), jnp.zeros(())
        return Course(state.data, inner, window, after, gradient, placed, norms, none, none)

    def walk(self, course: Course, constants: StepConstants, given: RatInput, number: Any) -> Course:
        """Train the network by one step on the distilled images; keep it as it was if it is in the window."""
        slot = jnp.clip(number - course.placed.prefix, 0, self.settings.longest_window - 1)
        window = jax.tree.map(lambda all_, one: all_.at[slot].set(one), course.window, course.inner)
        loss = self.parts.loss(_keys(constants, given).training)
        inner, gradient = forward(loss, course.inner, course.data, number, self.settings.inner_learning_rate)
        norms = course.norms.at[number].set(_norm(gradient)) if self._adaptive else course.norms
        return replace(course, inner=inner, window=window, norms=norms)

    def place(self, course: Course, constants: StepConstants, given: RatInput, number: Any) -> Course:
        """Draw where the window lies, by the norms seen, and go back to the untrained network."""
        del number
        keys = _keys(constants, given)
        placed = drawn(course.placed, course.norms, keys.window, self.settings)
        return replace(course, placed=placed, inner=started(self.parts.fresh(keys.network)))

    def test(self, course: Course, constants: StepConstants, given: RatInput, number: Any) -> Course:
        """Test the trained network on real images."""
        del number

        def loss(params: Params) -> tuple[jax.Array, jax.Array]:
            return self.parts.test(params, constants.images, given.batch, _keys(constants, given).test)

        (value, accuracy), gradient = jax.value_and_grad(loss, has_aux=True)(course.inner.x)
        return replace(course, after=started(gradient), loss=value, accuracy=accuracy)

    def pull(self, course: Course, constants: StepConstants, given: RatInput, number: Any) -> Course:
        """Go back by one step of the window."""
        slot = course.placed.size - 1 - number
        inner = jax.tree.map(lambda all_: all_[slot], course.window)
        loss, at = self.parts.loss(_keys(constants, given).training), course.placed.prefix + slot
        before, more = backward(loss, inner, course.data, at, self.settings.inner_learning_rate, course.after)
        return replace(course, after=before, gradient=jax.tree.map(jnp.add, course.gradient, more))

    def finish(
        self, state: RatState, course: Course, constants: StepConstants, given: RatInput
    ) -> tuple[RatState, dict[str, jax.Array]]:
        """Update the data by the gradient, and what decides over the window by the test."""
        del constants
        images, norm, mean = clipped(course.gradient.images, state.norm)
        gradient = learned_part(DistilledData(images, course.gradient.labels), self.settings)
        updates, opt_state = self.parts.optimizer.update(gradient, state.opt_state)
        new: Any = optax.apply_updates(learned_part(state.data, self.settings), updates)
        labels = jnp.maximum(new[1], 0.0) if self.settings.learn_labels else state.data.labels
        placed = None
        if self._adaptive:
            placed = looked_at(course.placed, course.accuracy, self.steps_of_pass, given.last, self.settings.total)
        metrics = {
            "trained_loss": course.loss,
            "trained_accuracy": course.accuracy,
            "gradient_norm": norm,
            "prefix": course.placed.prefix,
            "window": course.placed.size,
        }
        return RatState(DistilledData(new[0], labels), opt_state, mean, placed), metrics

    @property
    def _adaptive(self) -> bool:
        return self.settings.placement == "adaptive"


class _Keys(NamedTuple):
    """The keys of a step."""

    network: jax.Array
    training: jax.Array
    test: jax.Array
    window: jax.Array


def _keys(constants: StepConstants, given: RatInput) -> _Keys:
    return _Keys(*jax.random.split(jax.random.fold_in(jax.random.wrap_key_data(constants.key), given.step), 4))


def clipped(gradient: jax.Array, mean: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return the images' gradient, clipped, its norm before that, and the running mean with it.

    `mean` is the running mean before, negative if there is none.
    """
    norm = _norm(gradient)
    mean = jnp.where(mean < 0, norm, NORM_MEMORY * mean + (1 - NORM_MEMORY) * norm)
    return gradient * jnp.minimum(1.0, CLIP * mean / jnp.maximum(norm, jnp.finfo(jnp.float32).tiny)), norm, mean


def _norm(tree: Params) -> jax.Array:
    return jnp.sqrt(jnp.sum(jnp.stack([jnp.sum(leaf**2) for leaf in jax.tree.leaves(tree)])))

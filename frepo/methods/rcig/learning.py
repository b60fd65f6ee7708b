"""From a job to the input of the loop: the step, the first state, the data and the inputs."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from frepo.data.batches import target_batches
from frepo.data.residency import Take, training_images
from frepo.data.split import split
from frepo.engine.devices import compiled, place
from frepo.engine.loop import Loop
from frepo.engine.phases import Phased
from frepo.engine.randomness import Stream, key_data
from frepo.engine.shared import shared
from frepo.methods.base import DistilledData, Job, Learning, Result, StepConstants
from frepo.methods.chosen import real_images
from frepo.methods.pool import PoolTraining, pool_training, update_schedule
from frepo.methods.rcig.gradient import Learned
from frepo.methods.rcig.proxy import Inner
from frepo.methods.rcig.rates import START, Rates, found_rate
from frepo.methods.rcig.step import Course, RcigInput, RcigState, RcigStep, averaged, belief
from frepo.networks.layers import numerics
from frepo.networks.losses import half_squared_error
from frepo.signals import raise_if_stopping
from frepo.spec import Rcig


class _Start(NamedTuple):
    support: DistilledData
    pool_key: Any
    """uint32 [2], see `key_data`."""
    inner_rate: np.float32
    hessian_rate: np.float32


def prepare(job: Job) -> Learning[RcigState]:
    """Return the learning of images and labels, which start as real images with labels one-hot minus 1/C."""
    work, dataset, settings = job.work, job.dataset, job.work.distill
    assert isinstance(settings, Rcig)
    assert work.architecture is not None
    assert work.pool is not None
    pool = work.pool
    start = real_images(work, dataset)
    training = pool_training(work, dataset.info, _loss, settings.softplus or None)
    ridge = settings.l2 * len(start.images)
    inner = Inner(ridge, settings.flip, job.options.chunk)
    kept, _ = split(settings.validation_fraction, dataset.train_labels)
    precision = work.architecture.precision
    target = training_images(dataset, settings.batch_size, job.options.residency, numerics(precision).dtype)
    seed = (work.seed, Stream.POOL_SCHEDULE)
    schedule = update_schedule(seed, pool.size, pool.max_online_updates, settings.max_pool_updates, settings.steps)

    def inputs(first: int, count: int) -> RcigInput:
        batches = target_batches(work.seed, kept, settings.batch_size, first, count)
        part = slice(first, first + count)
        steps = np.arange(first, first + count, dtype=np.int32)
        return RcigInput(
            steps, schedule.member[part], schedule.updates[part], schedule.replace[part], target.given(batches)
        )

    pool_start, pool_step = key_data((work.seed, Stream.POOL_START), (work.seed, Stream.POOL_STEP))
    step, phased = _step(settings, training, target.take, inner)
    initial, constants = _initial(training, pool.size), StepConstants(target.constants, place(pool_step))

    def with_rates(start: _Start) -> _Start:
        state = place(compiled(initial)(place(start)))
        return start._replace(**_found_rates(step, state, constants, inputs(0, 1)))

    loop = Loop(
        phased,
        initial,
        _Start(start, pool_start, *map(np.float32, START)),
        constants,
        inputs,
        settings.steps,
        found=with_rates,
        bytes_per_step=target.bytes_per_step,
        precision=precision,
        remedy="A smaller distill.learning_rate or a larger distill.l2 helps",
    )
    return Learning(
        loop,
        start,
        lambda state: DistilledData(state.learned.images, state.learned.labels),
        partial(_result, settings),
        training.trainer.num_parameters,
    )


@shared
def _step(settings: Rcig, training: PoolTraining, take: Take, inner: Inner) -> tuple[RcigStep, Phased]:
    step = RcigStep(settings, training, take, inner)
    return step, step.phased()


@shared
def _initial(training: PoolTraining, pool_size: int) -> Callable[[_Start], RcigState]:
    def initial(start: _Start) -> RcigState:
        keys = jax.random.split(jax.random.wrap_key_data(start.pool_key), pool_size)
        # Copies: the next step donates the buffers of its state.
        images, labels = jax.tree.map(jnp.copy, (start.support.images, start.support.labels))
        learned = Learned(images, labels, jnp.float32(0))
        rates = Rates(jnp.float32(start.inner_rate), jnp.float32(start.hessian_rate), jnp.int32(0), jnp.int32(0))
        average = jax.tree.map(jnp.zeros_like, learned)
        parts: Any = learned
        return RcigState(learned, belief().init(parts), average, training.fresh_pool(keys), rates)

    return initial


def _loss(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Half the squared error as in FRePo, but the mean over classes too: Adam's epsilon sees the difference."""
    return half_squared_error(logits, labels) / labels.shape[-1]


def _found_rates(
    step: RcigStep, state: RcigState, constants: StepConstants, inputs: RcigInput
) -> dict[str, np.float32]:
    """Return the rates of the two solves that suit the first network, fresh as it is, and the data at the start.

    Raises:
        Interrupted: a signal came.
    """
    given = place(jax.tree.map(lambda leaf: leaf[0], inputs))
    begin, test = compiled(step.begin), compiled(step.test)
    phases = step.write, step.solve, step.solve_hessian
    write, solve, solve_hessian = (compiled(phase, donate_argnums=0) for phase in phases)
    fresh = begin(state, constants, given)
    for number in np.arange(len(fresh.fixed.jacobian), dtype=np.int32):
        raise_if_stopping()
        fresh = write(fresh, constants, given, place(number))

    def solved(rate: np.float32) -> Iterator[Course]:
        course = jax.tree.map(jnp.copy, replace(fresh, rates=replace(fresh.rates, inner=rate)))
        for number in np.arange(step.settings.inner_steps, dtype=np.int32):
            raise_if_stopping()
            course = solve(course, constants, given, place(number))
            yield course

    def residuals(rate: np.float32) -> Iterator[Any]:
        course = jax.tree.map(jnp.copy, replace(tested, rates=replace(tested.rates, hessian=rate)))
        for number in np.arange(step.settings.hessian_steps, dtype=np.int32):
            raise_if_stopping()
            course = solve_hessian(course, constants, given, place(number))
            yield jax.device_get(course.residuals)[number]

    def losses(rate: np.float32) -> Iterator[Any]:
        for number, course in enumerate(solved(rate)):
            yield jax.device_get(course.losses)[number]

    inner = found_rate(losses, START[0])
    *_, last = solved(inner)
    tested = test(last, constants, given, place(np.int32(0)))
    return {"inner_rate": inner, "hessian_rate": found_rate(residuals, START[1])}


def _result(settings: Rcig, state: RcigState) -> Result:
    """Return the average of what was learned, with the log of the temperature's factor."""
    found = averaged(state, settings.ema, settings.steps)
    return Result(DistilledData(found.images, found.labels), settings.steps, {"log_temperature": found.temperature})

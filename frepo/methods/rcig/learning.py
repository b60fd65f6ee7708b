"""From a job to the input of the loop: the step, the first state, the data and the inputs."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from frepo.data.batches import batch_indices
from frepo.data.residency import TrainingImages, training_images
from frepo.data.split import split
from frepo.engine.devices import compiled, place
from frepo.engine.loop import Loop
from frepo.engine.randomness import Stream, key_data
from frepo.methods.base import DistilledData, Job, Learning, Result
from frepo.methods.chosen import real_images
from frepo.methods.frepo.step import StepConstants
from frepo.methods.pool import PoolTraining, pool_training, update_schedule
from frepo.methods.rcig.gradient import Inner, Learned, data_gradient
from frepo.methods.rcig.rates import START, Rates, found_rate
from frepo.methods.rcig.step import (
    RcigInput,
    RcigState,
    applied,
    averaged,
    belief,
    drawn_parts,
    make_step,
)
from frepo.networks.layers import numerics
from frepo.networks.losses import half_squared_error
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
    inner = Inner(ridge, settings.inner_steps, settings.hessian_steps, settings.flip, job.options.chunk)
    kept, _ = split(settings.validation_fraction, dataset.train_labels)
    precision = work.architecture.precision
    target = training_images(dataset, settings.batch_size, job.options.residency, numerics(precision).dtype)
    seed = (work.seed, Stream.POOL_SCHEDULE)
    schedule = update_schedule(seed, pool.size, pool.max_online_updates, settings.max_pool_updates, settings.steps)

    def inputs(first: int, count: int) -> RcigInput:
        batches = kept[
            batch_indices((work.seed, Stream.TARGET_BATCHES), len(kept), settings.batch_size, first, count)
        ].astype(np.int32)
        part = slice(first, first + count)
        steps = np.arange(first, first + count, dtype=np.int32)
        return RcigInput(
            steps, schedule.member[part], schedule.updates[part], schedule.replace[part], target.given(batches)
        )

    def initial(start: _Start) -> RcigState:
        keys = jax.random.split(jax.random.wrap_key_data(start.pool_key), pool.size)
        # Copies: the next step donates the buffers of its state.
        images, labels = jax.tree.map(jnp.copy, (start.support.images, start.support.labels))
        learned = Learned(images, labels, jnp.float32(0))
        rates = Rates(jnp.float32(start.inner_rate), jnp.float32(start.hessian_rate), jnp.int32(0), jnp.int32(0))
        average = jax.tree.map(jnp.zeros_like, learned)
        parts: Any = learned
        return RcigState(learned, belief().init(parts), average, training.fresh_pool(keys), rates)

    pool_start, pool_step = key_data((work.seed, Stream.POOL_START), (work.seed, Stream.POOL_STEP))

    def with_rates(start: _Start) -> _Start:
        given = inputs(0, 1)
        inner_rate, hessian_rate = _first_rates(settings, start.support, training, target, inner, given, pool_start)
        return start._replace(inner_rate=inner_rate, hessian_rate=hessian_rate)

    loop = Loop(
        make_step(settings, training, target, inner),
        initial,
        _Start(start, pool_start, *map(np.float32, START)),
        StepConstants(target.constants, place(pool_step)),
        inputs,
        settings.steps,
        found=with_rates,
        bytes_per_step=target.bytes_per_step,
        precision=precision,
    )
    return Learning(
        loop,
        start,
        lambda state: DistilledData(state.learned.images, state.learned.labels),
        partial(_result, settings),
        training.trainer.num_parameters,
    )


def _loss(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Half the squared error as in FRePo, but the mean over classes too: Adam's epsilon sees the difference."""
    return half_squared_error(logits, labels) / labels.shape[-1]


def _first_rates(
    settings: Rcig,
    start: DistilledData,
    training: PoolTraining,
    target: TrainingImages,
    inner: Inner,
    given: RcigInput,
    key: np.ndarray,
) -> tuple[np.float32, np.float32]:
    """Return the rates of the two inner solves that suit a fresh network and the data to start from."""

    def losses(support: DistilledData, key: Any, constants: Any, batch: Any, rates: Any) -> Any:
        network = training.trainer.fresh(jax.random.wrap_key_data(key))
        images, classes = target.take(constants, batch)
        targets = images, jax.nn.one_hot(classes, support.labels.shape[-1], dtype=jnp.float32)
        learned = Learned(support.images, support.labels, jnp.float32(0))
        parts = drawn_parts(settings, len(support.images), jax.random.wrap_key_data(key))
        found = data_gradient(applied(training, network), network.params, learned, targets, rates, inner, parts)
        return found.inner_losses, found.residuals

    run = compiled(losses)
    fixed = place((start, key, target.constants, jax.tree.map(lambda leaf: leaf[0], given.batch)))

    def at(inner_rate: np.float32, hessian_rate: np.float32) -> Any:
        return jax.device_get(run(*fixed, place((inner_rate, hessian_rate))))

    hessian_start = np.float32(START[1])
    inner_rate = found_rate(lambda rate: at(rate, hessian_start)[0], START[0])
    return inner_rate, found_rate(lambda rate: at(inner_rate, rate)[1], START[1])


def _result(settings: Rcig, state: RcigState) -> Result:
    """Return the average of what was learned, with the log of the temperature's factor."""
    found = averaged(state, settings.ema, settings.steps)
    return Result(DistilledData(found.images, found.labels), settings.steps, {"log_temperature": found.temperature})

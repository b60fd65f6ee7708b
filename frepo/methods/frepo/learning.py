"""From a job to the input of the loop: the step, the first state, the data and the inputs."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from frepo.data.batches import target_batches
from frepo.data.residency import training_images
from frepo.data.split import split
from frepo.engine.devices import place
from frepo.engine.loop import Loop, Milestone, every
from frepo.engine.randomness import Stream, key_data
from frepo.engine.shared import shared
from frepo.methods.base import DistilledData, Job, Learning, Result, StepConstants
from frepo.methods.chosen import real_images
from frepo.methods.frepo.state import Best, DistillState
from frepo.methods.frepo.step import StepInput, learned_part, make_step, meta_optimizer
from frepo.methods.frepo.validation import make_validation, validation_steps
from frepo.methods.pool import PoolTraining, pool_schedule, pool_training
from frepo.networks.layers import numerics
from frepo.spec import Frepo


class _Start(NamedTuple):
    support: DistilledData
    pool_key: Any
    """uint32 [2], see `key_data`."""


def prepare(job: Job) -> Learning[DistillState]:
    """Return the learning of images, and of labels if the spec asks for it.

    They start as real images with labels (one-hot minus 1/C) / sqrt(C/10), where C is `label_classes` of the data set.
    """
    work, dataset, residency, chunk = job.work, job.dataset, job.options.residency, job.options.chunk
    settings = work.distill
    assert isinstance(settings, Frepo)
    assert work.architecture is not None
    assert work.pool is not None
    start = real_images(work, dataset)
    info, pool, training = dataset.info, work.pool, pool_training(work, dataset.info)
    schedule = pool_schedule((work.seed, Stream.POOL_SCHEDULE), pool.size, pool.max_online_updates, settings.steps)
    kept, held_out = split(settings.validation_fraction, dataset.train_labels)
    support = DistilledData(start.images, start.labels / np.float32(np.sqrt(info.label_classes / 10)))

    target = training_images(dataset, settings.batch_size, residency, numerics(work.architecture.precision).dtype)

    def inputs(first: int, count: int) -> StepInput:
        batches = target_batches(work.seed, kept, settings.batch_size, first, count)
        part = slice(first, first + count)
        steps = np.arange(first, first + count, dtype=np.int32)
        return StepInput(steps, schedule.member[part], schedule.replace[part], target.given(batches))

    step = make_step(settings, training, target.take, info.label_classes, chunk)
    pool_start, pool_step = key_data((work.seed, Stream.POOL_START), (work.seed, Stream.POOL_STEP))
    precision = work.architecture.precision
    milestones: list[Milestone[DistillState]] = []
    if len(held_out):
        validate = make_validation(settings, training, dataset, held_out, chunk)
        milestones.append(Milestone(every(validation_steps(settings.steps), settings.steps), validate))
    loop = Loop(
        step,
        _initial(settings, training, pool.size, len(held_out) > 0),
        _Start(support, pool_start),
        StepConstants(target.constants, place(pool_step)),
        inputs,
        settings.steps,
        bytes_per_step=target.bytes_per_step,
        precision=precision,
        remedy="A smaller distill.learning_rate or a larger distill.reg helps",
        milestones=tuple(milestones),
    )
    return Learning(
        loop, start, lambda state: state.data, partial(_result, settings.steps), training.trainer.num_parameters
    )


@shared
def _initial(
    settings: Frepo, training: PoolTraining, pool_size: int, chooses: bool
) -> Callable[[_Start], DistillState]:
    def initial(start: _Start) -> DistillState:
        keys = jax.random.split(jax.random.wrap_key_data(start.pool_key), pool_size)
        opt_state = meta_optimizer(settings).init(learned_part(start.support, settings))
        # Copies: the next step donates the buffers of its state.
        data, same = jax.tree.map(jnp.copy, (start.support, start.support))
        best = Best(same, jnp.float32(-1), jnp.int32(0)) if chooses else None
        return DistillState(data, opt_state, training.fresh_pool(keys), best)

    return initial


def _result(steps: int, state: DistillState) -> Result:
    """Return the data of the last state, or of the best one if there is a choice."""
    return Result(state.data, steps) if state.best is None else Result(state.best.data, int(state.best.step))

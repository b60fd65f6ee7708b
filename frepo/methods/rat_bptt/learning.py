"""From a job to the input of the loop: the step, the first state, the data and the inputs."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from frepo.data.batches import target_batches
from frepo.data.residency import Take, training_images
from frepo.data.split import split
from frepo.engine.devices import place
from frepo.engine.loop import Loop
from frepo.engine.phases import Phased
from frepo.engine.randomness import Stream, key_data
from frepo.engine.shared import shared
from frepo.methods.base import DistilledData, Job, Learning, Result, StepConstants
from frepo.methods.rat_bptt.network import inner_loss, real_loss, weights
from frepo.methods.rat_bptt.placement import first_placed
from frepo.methods.rat_bptt.step import Parts, RatInput, RatState, RatStep, image_optimizer, learned_part
from frepo.networks.base import ImageNetwork, num_parameters
from frepo.networks.build import build_model
from frepo.networks.layers import numerics
from frepo.spec import RatBptt


def prepare(job: Job) -> Learning[RatState]:
    """Return the learning of images that start as noise; their labels start one-hot."""
    work, dataset, settings = job.work, job.dataset, job.work.distill
    assert isinstance(settings, RatBptt)
    assert work.architecture is not None
    info, architecture = dataset.info, work.architecture
    model = build_model(architecture, info.num_classes, info.image_shape)
    target = training_images(
        dataset, settings.batch_size, job.options.residency, numerics(architecture.precision).dtype
    )
    kept, _ = split(settings.validation_fraction, dataset.train_labels)
    steps_of_pass = max(1, len(kept) // settings.batch_size)
    start = noise(work.seed, settings.ipc, info.num_classes, info.image_shape)

    def inputs(first: int, count: int) -> RatInput:
        batches = target_batches(work.seed, kept, settings.batch_size, first, count)
        steps = np.arange(first, first + count, dtype=np.int32)
        begins, ends = (((steps + one) % steps_of_pass == 0).astype(np.int32) for one in (0, 1))
        return RatInput(steps, prefixes(work.seed, settings, steps), begins, ends, target.given(batches))

    def typical(count: int) -> RatInput:
        """Return steps whose window is in the middle of its places; an adaptive one begins there."""
        given, none = inputs(0, count), np.zeros(count, np.int32)
        return given._replace(prefix=none + (settings.total - settings.window) // 2, first=none)

    loop = Loop(
        _step(settings, model, info.image_shape, target.take, job.options.chunk, steps_of_pass),
        _initial(settings),
        start,
        StepConstants(target.constants, place(key_data((work.seed, Stream.POOL_STEP))[0])),
        inputs,
        settings.steps,
        typical=typical,
        bytes_per_step=target.bytes_per_step,
        precision=architecture.precision,
        remedy="A smaller distill.learning_rate or distill.inner_learning_rate helps",
    )
    centred = partial(_centred, classes=info.label_classes)
    parameters = num_parameters(model, info.image_shape)
    return Learning(
        loop,
        centred(start),
        lambda state: centred(state.data),
        lambda state: Result(centred(state.data), settings.steps),
        parameters,
    )


@shared
def _step(
    settings: RatBptt,
    model: ImageNetwork,
    image_shape: tuple[int, int, int],
    take: Take,
    chunk: int,
    steps_of_pass: int,
) -> Phased:
    parts = Parts(
        partial(weights, model, image_shape),
        partial(inner_loss, model, settings),
        partial(real_loss, model, settings, take, chunk),
        image_optimizer(settings.learning_rate),
    )
    return RatStep(settings, parts, steps_of_pass).phased()


@shared
def _initial(settings: RatBptt) -> Callable[[DistilledData], RatState]:
    optimizer = image_optimizer(settings.learning_rate)

    def initial(start: DistilledData) -> RatState:
        data = jax.tree.map(jnp.copy, start)  # the next step donates the buffers of its state
        placed = first_placed(settings) if settings.placement == "adaptive" else None
        return RatState(data, optimizer.init(learned_part(data, settings)), jnp.float32(-1), placed)

    return initial


def noise(seed: int, ipc: int, num_classes: int, image_shape: tuple[int, int, int]) -> DistilledData:
    """Return normal noise, each image scaled to a Euclidean norm of 1, with labels one-hot, class by class."""
    random = np.random.default_rng((seed, Stream.START_IMAGES))
    images = random.standard_normal((num_classes * ipc, *image_shape))
    images /= np.sqrt(np.sum(images**2, axis=(1, 2, 3), keepdims=True))
    return DistilledData(images.astype(np.float32), np.repeat(np.eye(num_classes, dtype=np.float32), ipc, axis=0))


def prefixes(seed: int, settings: RatBptt, steps: np.ndarray) -> np.ndarray:
    """Return the number of steps before the window in each of `steps`, int32 [steps]: a pure function of the two."""
    most = settings.total - settings.window
    if settings.placement == "end":
        return np.full(len(steps), most, np.int32)
    drawn = [np.random.default_rng((seed, Stream.WINDOWS, int(step))).integers(0, most + 1) for step in steps]
    return np.array(drawn, np.int32)


def _centred(data: DistilledData, classes: int) -> DistilledData:
    return DistilledData(data.images, data.labels - np.float32(1 / classes))

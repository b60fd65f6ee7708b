"""From a job to the input of the loop: the step, the first state, the data and the inputs."""

import numpy as np

from frepo.data.residency import training_images
from frepo.data.split import split
from frepo.engine.devices import place
from frepo.engine.loop import Loop
from frepo.engine.randomness import Stream, key_data
from frepo.methods.base import Job, Learning, Result, StepConstants
from frepo.methods.chosen import real_images
from frepo.methods.dm.batches import class_batches, images_per_class, positions_of_classes
from frepo.methods.dm.step import DmInput, DmState, image_optimizer, make_initial, make_step
from frepo.networks.base import num_parameters
from frepo.networks.build import build_model
from frepo.networks.layers import numerics
from frepo.spec import Dm


def prepare(job: Job) -> Learning[DmState]:
    """Return the learning of images that start as real images; their labels stay centred one-hot."""
    work, dataset, settings = job.work, job.dataset, job.work.distill
    assert isinstance(settings, Dm)
    assert settings.augmentation is not None
    assert work.architecture is not None
    info, architecture = dataset.info, work.architecture
    model = build_model(architecture, info.num_classes, info.image_shape)
    optimizer = image_optimizer(settings.learning_rate, settings.momentum)
    kept, _ = split(settings.validation_fraction, dataset.train_labels)
    classes = positions_of_classes(kept, np.asarray(dataset.train_labels), info.num_classes)
    size = images_per_class(settings.batch_size, classes)
    target = training_images(
        dataset, len(classes) * size, job.options.residency, numerics(architecture.precision).dtype
    )
    start = real_images(work, dataset)

    def inputs(first: int, count: int) -> DmInput:
        batches = class_batches((work.seed, Stream.TARGET_BATCHES), classes, size, first, count)
        return DmInput(np.arange(first, first + count, dtype=np.int32), target.given(batches))

    loop = Loop(
        make_step(model, target.take, optimizer, settings.augmentation, job.options.chunk),
        make_initial(optimizer),
        start,
        StepConstants(target.constants, place(key_data((work.seed, Stream.POOL_STEP))[0])),
        inputs,
        settings.steps,
        bytes_per_step=target.bytes_per_step,
        precision=architecture.precision,
        remedy="A smaller distill.learning_rate helps",
    )
    parameters = num_parameters(model, info.image_shape)
    return Learning(loop, start, lambda state: state.data, lambda state: Result(state.data, settings.steps), parameters)

"""From a stage's work and data to the trainer and the training loop of its networks."""

from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from frepo.data.dataset import Dataset, DatasetInfo
from frepo.data.residency import TrainingImages, input_maker, training_images
from frepo.data.split import split
from frepo.engine.loop import Loop
from frepo.engine.randomness import Stream
from frepo.engine.shared import shared
from frepo.networks import recipe as recipes
from frepo.networks.build import build_model
from frepo.networks.layers import numerics
from frepo.networks.scoring import Scorer
from frepo.networks.training import Regime, Trainer, centered_data, fixed_data, training_loop, with_mirror_images
from frepo.plan import Evaluation
from frepo.runtime import Residency
from frepo.spec import Architecture, Recipe


@runtime_checkable
class Labelled(Protocol):
    """Network inputs float32 [n, h, w, c] with centred labels float32 [n, C], host arrays."""

    @property
    def images(self) -> Any: ...  # noqa: D102
    @property
    def labels(self) -> Any: ...  # noqa: D102


class Prepared(NamedTuple):
    """A trainer, its loop, and their data."""

    trainer: Trainer
    loop: Loop[Any]

    def scorer(self, dataset: Dataset) -> Scorer:
        """Return what scores one of its networks on images of `dataset` in stored form."""
        to_inputs = input_maker(dataset.preprocess)
        return Scorer(self.trainer.logits, to_inputs, dataset.info.num_classes)


def prepare(
    work: Evaluation,
    data: Labelled | None,
    dataset: Dataset,
    residency: Residency,
    positions: np.ndarray | None = None,
    stream: Stream = Stream.EVALUATION,
) -> Prepared:
    """Return the trainer and loop for networks on `data`, or on real images if it is None.

    Real images are all of them, or for each network those at its `positions`, int [networks, n].
    """
    recipe = work.recipe
    source, everything, count = _source(work, data, dataset, residency)
    positions = everything if positions is None else positions
    steps = recipes.training_steps(recipe, positions.shape[-1], work.epochs)
    if recipe.mirrored:
        source, positions = with_mirror_images(source, count), np.concatenate([positions, positions + count], axis=-1)
    trainer = trainer_of(work, dataset.info, steps)
    seeds = [(work.seed, stream, i) for i in range(recipe.num_models)]
    regime = Regime(steps, recipe.batch_size, recipes.examples(recipe))
    return Prepared(trainer, training_loop(trainer, source, positions, seeds, regime))


def trainer_of(work: Evaluation, info: DatasetInfo, steps: int) -> Trainer:
    """Return the trainer of the networks of `work`, for `steps` steps."""
    return _trainer(work.architecture, work.recipe, info.num_classes, info.image_shape, steps)


@shared
def _trainer(
    architecture: Architecture, recipe: Recipe, num_classes: int, image_shape: tuple[int, int, int], steps: int
) -> Trainer:
    model = build_model(architecture, num_classes, image_shape)
    return Trainer(model, recipes.optimizer(recipe, steps), image_shape, recipes.loss(recipe))


def _source(
    work: Evaluation, data: Labelled | None, dataset: Dataset, residency: Residency
) -> tuple[TrainingImages, np.ndarray, int]:
    """Return images with centred labels, the positions of those used for training, and how many there are."""
    if data is not None:
        return fixed_data(data.images, data.labels), np.arange(len(data.images)), len(data.images)
    kept, _ = split(work.validation_fraction, dataset.train_labels)
    dtype = numerics(work.architecture.precision).dtype
    images = training_images(dataset, work.recipe.batch_size, residency, dtype)
    labelled = centered_data(images, dataset.info.num_classes, dataset.info.label_classes)
    return labelled, kept, dataset.info.num_train

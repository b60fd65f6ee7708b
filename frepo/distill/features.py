"""A network trained on all real images, on whose features images are chosen."""

from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np

from frepo import recipe as recipes
from frepo import record
from frepo.checkpoint import restore_newest, save_state
from frepo.data.dataset import Dataset
from frepo.data.residency import input_maker, training_images
from frepo.data.split import split
from frepo.devices import compiled, in_shares, place
from frepo.errors import FrepoError
from frepo.journal import Journal
from frepo.loop import Loop, run_steps
from frepo.models.build import build_model
from frepo.models.precision import numerics
from frepo.plan import FeaturesStage
from frepo.runtime import Residency
from frepo.seeds import Stream
from frepo.signals import raise_if_stopping
from frepo.training import SCORED_AT_ONCE, Network, Regime, Trainer, centered_data, one_by_one, training_loop


def prepare(work: FeaturesStage, dataset: Dataset, residency: Residency) -> tuple[Trainer, Loop[Network]]:
    """Return how the network is trained, and the loop that does it."""
    kept, _ = split(work.validation_fraction, dataset.train_labels)
    steps = recipes.training_steps(work.recipe, len(kept), work.epochs)
    trainer = _trainer(work, dataset, steps)
    dtype = numerics(work.architecture.precision).dtype
    images = training_images(dataset, work.recipe.batch_size, residency, dtype)
    data = centered_data(images, dataset.info.num_classes)
    seeds = [(work.seed, Stream.FEATURES)]
    return trainer, training_loop(trainer, data, kept, seeds, Regime(steps, work.recipe.batch_size))


def train_features(work: FeaturesStage, dataset: Dataset, residency: Residency, journal: Journal) -> None:
    """Train the network and write it.

    Raises:
        Interrupted: a signal came; the state is saved.
        FrepoError: the training diverged.
    """
    _, loop = prepare(work, dataset, residency)
    (network,) = one_by_one(run_steps(loop, journal))
    if jax.process_index() == 0:
        save_state(journal.directory / record.NETWORK, loop.steps, network)


def read_features(work: FeaturesStage, dataset: Dataset, directory: Path) -> Callable[[np.ndarray], np.ndarray]:
    """Return what maps positions of training images, int [n], to features float32 [n, d], from a finished stage.

    Raises:
        FrepoError: the network is missing or damaged.
    """
    trainer = _trainer(work, dataset, steps=1)
    found = restore_newest(directory / record.NETWORK, jax.eval_shape(lambda: trainer.fresh(jax.random.key(0))))
    if found is None:
        raise FrepoError(f"{directory / record.NETWORK} cannot be read; run with --fresh to train the network again")
    network, to_inputs = place(found[1]), input_maker(dataset.preprocess)

    def features(network: Network, images: jax.Array) -> jax.Array:
        return in_shares(lambda share: trainer.apply(network, to_inputs(share))[0], images)

    apply = compiled(features)

    def of_positions(positions: np.ndarray) -> np.ndarray:
        parts: list[np.ndarray] = []
        for start in range(0, len(positions), SCORED_AT_ONCE):
            raise_if_stopping()
            part = positions[start : start + SCORED_AT_ONCE]
            parts.append(np.asarray(jax.device_get(apply(network, place(dataset.train_images[part])))))
        return np.concatenate(parts)

    return of_positions


def _trainer(work: FeaturesStage, dataset: Dataset, steps: int) -> Trainer:
    info = dataset.info
    model = build_model(work.architecture, info.num_classes, info.image_shape)
    return Trainer(model, recipes.optimizer(work.recipe, steps), info.image_shape, recipes.loss(work.recipe))

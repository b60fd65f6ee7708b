"""A network trained on all real images, whose features serve to choose images."""

from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np

from frepo.data.dataset import Dataset
from frepo.data.residency import input_maker
from frepo.engine.checkpoint import restore_newest, state_bytes
from frepo.engine.devices import place
from frepo.engine.journal import Journal
from frepo.engine.randomness import Stream
from frepo.engine.run import run_steps
from frepo.errors import FrepoError
from frepo.networks.prepare import prepare, trainer_of
from frepo.networks.scoring import Outputs, parts
from frepo.networks.training import one_by_one
from frepo.plan import FeaturesStage
from frepo.rundir import record
from frepo.rundir.state import file_of
from frepo.runtime import Residency


def train_features(work: FeaturesStage, dataset: Dataset, residency: Residency, journal: Journal) -> None:
    """Train the network and write it.

    Raises:
        Interrupted: a signal came; the state is saved.
        FrepoError: the training diverged.
    """
    loop = prepare(work, None, dataset, residency, stream=Stream.FEATURES).loop
    (network,) = one_by_one(run_steps(loop, journal))
    journal.write_result(f"{record.NETWORK}/{file_of(loop.steps)}", state_bytes(network))


def read_features(work: FeaturesStage, dataset: Dataset, directory: Path) -> Callable[[np.ndarray], np.ndarray]:
    """Return a map from positions of training images, int [n], to features float32 [n, d], read from a finished stage.

    Raises:
        FrepoError: the network is missing or damaged.
    """
    trainer = trainer_of(work, dataset.info, steps=1)
    found = restore_newest(directory / record.NETWORK, jax.eval_shape(lambda: trainer.fresh(jax.random.key(0))))
    if found is None:
        raise FrepoError(f"{directory / record.NETWORK} cannot be read; run the same command again to train it again")
    network = place(found[1])
    outputs = Outputs(trainer.features, input_maker(dataset.preprocess))

    def of_positions(positions: np.ndarray) -> np.ndarray:
        return outputs(network, (dataset.train_images[positions[part]] for part in parts(len(positions))))

    return of_positions

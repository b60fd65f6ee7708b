"""Real images: drawn at random, or chosen to represent their class."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from frepo.data.dataset import Dataset
from frepo.data.split import split
from frepo.engine.randomness import Stream
from frepo.methods.base import DistilledData, Job, Result
from frepo.methods.features import read_features
from frepo.methods.select import chosen_per_class, random_per_class
from frepo.networks.losses import centered_one_hot
from frepo.plan import DistillStage
from frepo.rundir.layout import stage_directory
from frepo.spec import Coreset


def prepare_random(job: Job) -> Result:
    """Return images drawn at random."""
    return Result(real_images(job.work, job.dataset))


def prepare_coreset(job: Job) -> Result:
    """Return images that represent their class, compared by pixels or by the features of a trained network.

    Raises:
        Interrupted: a signal came.
        FrepoError: the network cannot be read.
    """
    settings, dataset = job.work.distill, job.dataset
    assert isinstance(settings, Coreset)
    vectors = _vectors(job)
    kept, _ = split(settings.validation_fraction, dataset.train_labels)
    labels, seed = np.asarray(dataset.train_labels)[kept], (job.work.seed, Stream.SELECTION)

    def of_kept(positions: np.ndarray) -> np.ndarray:
        return vectors(kept[positions])

    chosen = chosen_per_class(settings.method, of_kept, labels, dataset.info.num_classes, settings.ipc, seed)
    return Result(with_labels(dataset, kept[chosen]))


def _vectors(job: Job) -> Callable[[np.ndarray], np.ndarray]:
    """Return a map from positions of training images to the vectors that represent them in comparisons."""
    dataset = job.dataset
    for network in job.stage.needs:
        work: Any = network.work
        return read_features(work, dataset, stage_directory(network, job.options.runs_dir))
    return lambda positions: dataset.inputs(dataset.train_images[positions]).reshape(len(positions), -1)


def real_images(work: DistillStage, dataset: Dataset) -> DistilledData:
    """Return the real images that a stage draws or starts from, drawn by its seed, with centred one-hot labels."""
    kept, _ = split(work.distill.validation_fraction, dataset.train_labels)
    seed = (work.seed, Stream.SELECTION)
    chosen = random_per_class(dataset.train_labels[kept], dataset.info.num_classes, work.distill.ipc, seed)
    return with_labels(dataset, kept[chosen])


def with_labels(dataset: Dataset, positions: np.ndarray) -> DistilledData:
    """Return the training images at `positions`, int [n], as network inputs with centred one-hot labels."""
    info = dataset.info
    labels = centered_one_hot(jnp.asarray(dataset.train_labels[positions]), info.num_classes, info.label_classes)
    return DistilledData(dataset.inputs(dataset.train_images[positions]), np.asarray(labels))

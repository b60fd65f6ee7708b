"""A distill stage from the data set to `distilled.npz`."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from frepo.data.dataset import Dataset, DatasetInfo
from frepo.data.decode import share_of
from frepo.data.split import split
from frepo.engine.journal import Journal
from frepo.engine.randomness import Stream
from frepo.engine.run import run_steps
from frepo.errors import FrepoError
from frepo.methods.features import read_features
from frepo.methods.frepo.learning import prepare
from frepo.methods.frepo.state import DistilledData
from frepo.methods.imported import kept
from frepo.methods.select import chosen_per_class, random_per_class
from frepo.methods.snapshots import snapshot_steps, snapshots, write_sheets, written_sheets
from frepo.networks.build import build_model
from frepo.networks.losses import centered_one_hot
from frepo.plan import DistillStage, FeaturesStage, Stage
from frepo.rundir import record
from frepo.rundir.arrays import npz_bytes, read_npz
from frepo.runtime import RuntimeOptions
from frepo.spec import Coreset, Frepo, Imported, RandomSelection


def check(work: DistillStage, info: DatasetInfo) -> None:
    """Hold a stage against the facts of its data, before anything is written.

    Raises:
        FrepoError: a class has fewer images than asked for, or the network does not fit the images.
    """
    left = info.smallest_class
    if work.distill.validation_fraction is not None:
        left -= share_of(info.smallest_class, work.distill.validation_fraction)
    if not isinstance(work.distill, Imported) and work.distill.ipc > left:
        raise FrepoError(
            f"distill.ipc = {work.distill.ipc} is more than the smallest class of {info.name} has: "
            f"{left} training images"
        )
    if work.architecture is not None:
        build_model(work.architecture, info.num_classes, info.image_shape)


def distill(stage: Stage, run_directory: Path, dataset: Dataset, journal: Journal, options: RuntimeOptions) -> None:
    """Make the distilled data of a stage and write it with contact sheets along the way.

    Raises:
        Interrupted: a signal came; the state is saved.
        FrepoError: the computation diverged, or imported data is not there.
    """
    work = stage.work
    assert isinstance(work, DistillStage)
    match work.distill:
        case RandomSelection():
            _write(real_images(work, dataset), work, dataset, journal)
        case Coreset() as settings:
            vectors = _pixels(dataset)
            if settings.on == "features":
                network = stage.needs[0]
                assert isinstance(network.work, FeaturesStage)
                vectors = read_features(network.work, dataset, run_directory / network.directory)
            _write(_coreset(work, settings, dataset, vectors), work, dataset, journal)
        case Imported(sha256=digest):
            _write(DistilledData(*kept(digest, options.cache_dir)), work, dataset, journal)
        case Frepo() as settings:
            _learn(settings, work, dataset, journal, options)


def read_distilled(directory: Path) -> DistilledData:
    """Return the result of a finished distill stage, host arrays.

    Raises:
        FrepoError: the file is missing or damaged.
    """
    remedy = "run with --fresh to compute it again"
    return DistilledData(*read_npz(directory / record.DISTILLED, ("images", "labels"), remedy))


def real_images(work: DistillStage, dataset: Dataset) -> DistilledData:
    """Return the real images that a stage draws or starts from, drawn from its seed, with centred one-hot labels."""
    kept, _ = split(work.distill.validation_fraction, dataset.train_labels)
    seed = (work.seed, Stream.SELECTION)
    chosen = random_per_class(dataset.train_labels[kept], dataset.info.num_classes, work.distill.ipc, seed)
    return with_labels(dataset, kept[chosen])


def with_labels(dataset: Dataset, positions: np.ndarray) -> DistilledData:
    """Return the training images at `positions`, int [n], as network inputs with centred one-hot labels."""
    info = dataset.info
    labels = centered_one_hot(jnp.asarray(dataset.train_labels[positions]), info.num_classes, info.label_classes)
    return DistilledData(dataset.inputs(dataset.train_images[positions]), np.asarray(labels))


def _learn(settings: Frepo, work: DistillStage, dataset: Dataset, journal: Journal, options: RuntimeOptions) -> None:
    start, ipc = real_images(work, dataset), settings.ipc
    write_sheets(start, 0, ipc, dataset, journal)
    loop = prepare(settings, work, start, dataset, options.residency, options.chunk).loop
    along = snapshots(settings.steps, ipc, dataset, journal)
    state = run_steps(replace(loop, milestones=(*loop.milestones, along)), journal)
    if state.best is None:
        _write(jax.device_get(state.data), work, dataset, journal, settings.steps)
    else:
        _write(jax.device_get(state.best.data), work, dataset, journal, int(state.best.step))


def _coreset(
    work: DistillStage, settings: Coreset, dataset: Dataset, vectors: Callable[[np.ndarray], np.ndarray]
) -> DistilledData:
    kept, _ = split(settings.validation_fraction, dataset.train_labels)
    labels, seed = np.asarray(dataset.train_labels)[kept], (work.seed, Stream.SELECTION)

    def of_kept(positions: np.ndarray) -> np.ndarray:
        return vectors(kept[positions])

    chosen = chosen_per_class(settings.method, of_kept, labels, dataset.info.num_classes, settings.ipc, seed)
    return with_labels(dataset, kept[chosen])


def _pixels(dataset: Dataset) -> Callable[[np.ndarray], np.ndarray]:
    return lambda positions: dataset.inputs(dataset.train_images[positions]).reshape(len(positions), -1)


def _write(data: DistilledData, work: DistillStage, dataset: Dataset, journal: Journal, step: int = 0) -> None:
    """Write the result, as it was after `step` steps, and say which sheets lead to it."""
    ipc, classes = work.distill.ipc, dataset.info.num_classes
    write_sheets(data, step, ipc, dataset, journal)
    before = [0, *snapshot_steps(work.distill.steps)] if isinstance(work.distill, Frepo) else []
    journal.images = written_sheets([*(s for s in before if s < step), step], classes, ipc, dataset, journal)
    of_class = np.repeat(np.arange(classes, dtype=np.int32), ipc)
    content = npz_bytes(images=data.images, labels=data.labels, classes=of_class)
    journal.write_result(record.DISTILLED, content)

"""A distill stage from the data set to `distilled.npz`."""

import hashlib
import io
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from frepo import record
from frepo.data.dataset import Dataset, DatasetInfo
from frepo.data.decode import share_of
from frepo.data.select import chosen_per_class, random_per_class
from frepo.data.sheet import contact_sheet
from frepo.data.split import split
from frepo.distill.features import read_features
from frepo.distill.learning import prepare
from frepo.distill.state import DistilledData
from frepo.errors import FrepoError
from frepo.foreign.keep import kept
from frepo.journal import Journal
from frepo.loop import run_steps
from frepo.losses import centered_one_hot
from frepo.models.build import build_model
from frepo.plan import DistillStage, FeaturesStage, Stage
from frepo.record import ImageSheet
from frepo.runtime import RuntimeOptions
from frepo.seeds import Stream
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
    """Make the distilled data of a stage and write it with contact sheets of its start and its end.

    Raises:
        Interrupted: a signal came; the state is saved.
        FrepoError: the computation diverged, or imported data is not there.
    """
    work = stage.work
    assert isinstance(work, DistillStage)
    match work.distill:
        case RandomSelection():
            _write(real_images(work, dataset), 0, work, dataset, journal)
        case Coreset() as settings:
            vectors = _pixels(dataset)
            if settings.on == "features":
                network = stage.needs[0]
                assert isinstance(network.work, FeaturesStage)
                vectors = read_features(network.work, dataset, run_directory / network.directory)
            _write(_coreset(work, settings, dataset, vectors), 0, work, dataset, journal)
        case Imported(sha256=digest):
            _write(DistilledData(*kept(digest, options.cache_dir)), 0, work, dataset, journal)
        case Frepo() as settings:
            start = real_images(work, dataset)
            _write_sheet(start, 0, work, dataset, journal)
            learning = prepare(settings, work, start, dataset, options.residency, options.chunk)
            state = run_steps(learning.loop, journal)
            if state.best is None:
                _write(jax.device_get(state.data), settings.steps, work, dataset, journal)
            else:
                _write(jax.device_get(state.best.data), int(state.best.step), work, dataset, journal)


def read_distilled(directory: Path) -> DistilledData:
    """Return the result of a finished distill stage, host arrays.

    Raises:
        FrepoError: the file is missing or damaged.
    """
    path = directory / record.DISTILLED
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return DistilledData(arrays["images"], arrays["labels"])
    except (OSError, ValueError, KeyError) as error:
        raise FrepoError(f"{path} cannot be read ({error}); run with --fresh to compute it again") from None


def real_images(work: DistillStage, dataset: Dataset) -> DistilledData:
    """Return the real images that a stage draws or starts from, drawn from its seed, with centred one-hot labels."""
    kept, _ = split(work.distill.validation_fraction, dataset.train_labels)
    seed = (work.seed, Stream.SELECTION)
    chosen = random_per_class(dataset.train_labels[kept], dataset.info.num_classes, work.distill.ipc, seed)
    return _with_labels(dataset, kept[chosen])


def _coreset(
    work: DistillStage, settings: Coreset, dataset: Dataset, vectors: Callable[[np.ndarray], np.ndarray]
) -> DistilledData:
    kept, _ = split(settings.validation_fraction, dataset.train_labels)
    labels, seed = np.asarray(dataset.train_labels)[kept], (work.seed, Stream.SELECTION)

    def of_kept(positions: np.ndarray) -> np.ndarray:
        return vectors(kept[positions])

    chosen = chosen_per_class(settings.method, of_kept, labels, dataset.info.num_classes, settings.ipc, seed)
    return _with_labels(dataset, kept[chosen])


def _pixels(dataset: Dataset) -> Callable[[np.ndarray], np.ndarray]:
    return lambda positions: dataset.inputs(dataset.train_images[positions]).reshape(len(positions), -1)


def _with_labels(dataset: Dataset, chosen: np.ndarray) -> DistilledData:
    labels = centered_one_hot(jnp.asarray(dataset.train_labels[chosen]), dataset.info.num_classes)
    return DistilledData(dataset.inputs(dataset.train_images[chosen]), np.asarray(labels))


def _write(data: DistilledData, step: int, work: DistillStage, dataset: Dataset, journal: Journal) -> None:
    _write_sheet(data, step, work, dataset, journal)
    classes = np.repeat(np.arange(dataset.info.num_classes, dtype=np.int32), work.distill.ipc)
    buffer = io.BytesIO()
    np.savez(buffer, images=data.images, labels=data.labels, classes=classes)
    journal.write_result(record.DISTILLED, buffer.getvalue())


def _write_sheet(data: DistilledData, step: int, work: DistillStage, dataset: Dataset, journal: Journal) -> None:
    columns = work.distill.ipc
    content = contact_sheet(dataset.preprocess.invert(np.asarray(data.images)), columns)
    name = f"{record.IMAGES}/step-{step:08}.png"
    journal.write_result(name, content)
    digest = hashlib.sha256(content).hexdigest()
    journal.images.append(
        ImageSheet(path=name, sha256=digest, step=step, rows=len(data.images) // columns, columns=columns)
    )

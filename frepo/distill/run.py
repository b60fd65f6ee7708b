"""A distill stage from the data set to `distilled.npz`."""

import hashlib
import io
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from frepo import record
from frepo.data.dataset import Dataset, DatasetInfo
from frepo.data.decode import share_of
from frepo.data.select import random_per_class
from frepo.data.sheet import contact_sheet
from frepo.distill.learning import prepare
from frepo.distill.state import DistilledData
from frepo.distill.validation import split
from frepo.errors import FrepoError
from frepo.journal import Journal
from frepo.loop import run_steps
from frepo.losses import centered_one_hot
from frepo.models.build import build_model
from frepo.plan import DistillStage
from frepo.record import ImageSheet
from frepo.runtime import Residency
from frepo.seeds import Stream
from frepo.spec import Frepo, RandomSelection


def check(work: DistillStage, info: DatasetInfo) -> None:
    """Hold a stage against the facts of its data, before anything is written.

    Raises:
        FrepoError: a class has fewer images than asked for, or the network does not fit the images.
    """
    left = info.smallest_class
    if isinstance(work.distill, Frepo) and work.distill.validation_fraction is not None:
        left -= share_of(info.smallest_class, work.distill.validation_fraction)
    if work.distill.ipc > left:
        raise FrepoError(
            f"distill.ipc = {work.distill.ipc} is more than the smallest class of {info.name} has: "
            f"{left} training images"
        )
    if work.architecture is not None:
        build_model(work.architecture, info.num_classes, info.image_shape)


def distill(work: DistillStage, dataset: Dataset, journal: Journal, residency: Residency, chunk: int) -> None:
    """Make the distilled data of a stage and write it with contact sheets of its start and its end.

    Raises:
        Interrupted: a signal came; the state is saved.
        FrepoError: the computation diverged.
    """
    start = real_images(work, dataset)
    match work.distill:
        case RandomSelection():
            _write(start, 0, work, dataset, journal)
        case Frepo() as settings:
            _write_sheet(start, 0, work, dataset, journal)
            learning = prepare(settings, work, start, dataset, residency, chunk)
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
    """Return the real images that a stage selects or starts from, drawn from its seed, with centred one-hot labels."""
    kept = np.arange(dataset.info.num_train)
    if isinstance(work.distill, Frepo):
        kept, _ = split(work.distill, dataset.train_labels)
    labels = dataset.train_labels[kept]
    chosen = kept[random_per_class(labels, dataset.info.num_classes, work.distill.ipc, (work.seed, Stream.SELECTION))]
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

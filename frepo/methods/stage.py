"""A distill stage from the data set to `distilled.npz`, for any method."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from frepo.data.dataset import DatasetInfo
from frepo.data.decode import share_of
from frepo.engine.cost import Cost, measure
from frepo.engine.journal import Journal
from frepo.engine.run import run_steps
from frepo.errors import FrepoError
from frepo.methods.base import DistilledData, Job, Learning, Result
from frepo.methods.budget import budget_bytes
from frepo.methods.snapshots import snapshot_steps, snapshots, write_sheets, written_sheets
from frepo.networks.build import build_model
from frepo.plan import DistillStage
from frepo.rundir import record
from frepo.rundir.arrays import npz_bytes, read_npz


def check(work: DistillStage, info: DatasetInfo) -> None:
    """Check a stage against the facts of its data, before anything is written.

    Raises:
        FrepoError: a class has too few images, or the network does not fit the images.
    """
    left = info.smallest_class
    if work.distill.validation_fraction is not None:
        left -= share_of(info.smallest_class, work.distill.validation_fraction)
    if work.distill.learned != "elsewhere" and work.distill.ipc > left:
        raise FrepoError(
            f"distill.ipc = {work.distill.ipc} is more than the smallest class of {info.name} has: "
            f"{left} training images"
        )
    if work.architecture is not None:
        build_model(work.architecture, info.num_classes, info.image_shape)


def distill(job: Job, journal: Journal) -> None:
    """Make the distilled data of a stage and write it with contact sheets of intermediate steps.

    Raises:
        Interrupted: a signal came; the state is saved.
        FrepoError: the computation diverged, or imported data is missing.
    """
    found = job.work.distill.load()(job)
    if isinstance(found, Learning):
        steps = found.loop.steps
        _write(_learn(found, job, journal), job, journal, (0, *snapshot_steps(steps)))
    else:
        _write(found, job, journal)


def cost(job: Job) -> Cost | None:
    """Return the cost of the steps of a stage on this device; None if images are not learned.

    Raises:
        FrepoError: the data does not fit the stage.
    """
    if job.work.distill.learned != "here":
        return None
    found = job.work.distill.load()(job)
    return measure(found.loop, found.parameters)


def read_distilled(directory: Path) -> DistilledData:
    """Return the result of a finished distill stage, host arrays.

    Raises:
        FrepoError: the file is missing or damaged.
    """
    remedy = "run the same command again to compute it again"
    return DistilledData(*read_npz(directory / record.DISTILLED, ("images", "labels"), remedy))


def _learn(learning: Learning[Any], job: Job, journal: Journal) -> Result:
    loop, ipc = learning.loop, job.work.distill.ipc
    write_sheets(learning.start, 0, ipc, job.dataset, journal)
    along = snapshots(loop.steps, ipc, job.dataset, journal, learning.shown)
    return learning.result(run_steps(replace(loop, milestones=(*loop.milestones, along)), journal))


def _write(result: Result, job: Job, journal: Journal, before: Iterable[int] = ()) -> None:
    """Write the result; record what it costs and its sheets, those of the steps `before` it and its own."""
    data: DistilledData = jax.device_get(result.data)
    step, ipc, classes = result.step, job.work.distill.ipc, job.dataset.info.num_classes
    write_sheets(data, step, ipc, job.dataset, journal)
    journal.images = written_sheets([*(s for s in before if s < step), step], classes, ipc, job.dataset, journal)
    of_class = np.repeat(np.arange(classes, dtype=np.int32), ipc)
    further = jax.device_get(dict(result.further))
    journal.budget_bytes = budget_bytes(data.images, data.labels, further)
    content = npz_bytes(images=data.images, labels=data.labels, classes=of_class, **further)
    journal.write_result(record.DISTILLED, content)

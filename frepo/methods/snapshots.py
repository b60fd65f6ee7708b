"""Contact sheets of distilled images at intermediate steps."""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import jax
import numpy as np

from frepo.data.dataset import Dataset
from frepo.data.preprocess import visible
from frepo.data.sheet import contact_sheet
from frepo.engine.journal import Journal
from frepo.engine.loop import Milestone
from frepo.methods.base import DistilledData
from frepo.rundir import record
from frepo.rundir.record import ImageSheet, View

HALVINGS = 8
LONG = 2_000
"""Number of steps from which the steps of snapshots are rounded."""
ROUNDED_TO = 100
"""Granularity of rounded steps: the length of a block on a GPU."""

S = TypeVar("S")


def snapshot_steps(steps: int) -> tuple[int, ...]:
    """Return the steps of snapshots between the first and the last: a half, a quarter, ... of `steps`.

    They are densest at the start, where images change most.
    """
    to = ROUNDED_TO if steps >= LONG else 1
    halved = {max(to, round(steps / 2**k / to) * to) for k in range(1, HALVINGS + 1)}
    return tuple(sorted(step for step in halved if step < steps))


def snapshots(
    steps: int, columns: int, dataset: Dataset, journal: Journal, shown: Callable[[S], DistilledData]
) -> Milestone[S]:
    """Return a milestone that writes sheets of `shown` states, `columns` images to a row, in `steps` steps."""

    def take(state: S, step: int) -> tuple[S, Mapping[str, Any]]:
        write_sheets(jax.device_get(shown(state)), step, columns, dataset, journal)
        return state, {}

    return Milestone(snapshot_steps(steps), take)


def write_sheets(data: DistilledData, step: int, columns: int, dataset: Dataset, journal: Journal) -> None:
    """Write the sheets of host arrays after `step` steps."""
    inputs = np.asarray(data.images)
    for view, as_seen in _views(dataset).items():
        journal.write_result(_path(view, step), contact_sheet(as_seen(inputs), columns))


def written_sheets(
    steps: Iterable[int], rows: int, columns: int, dataset: Dataset, journal: Journal
) -> list[ImageSheet]:
    """Return the sheets of `steps` in the stage's directory, from this attempt or an earlier one."""
    found = []
    for step in steps:
        for view in _views(dataset):
            path = journal.directory / _path(view, step)
            if path.exists():
                digest = hashlib.sha256(path.read_bytes()).hexdigest()
                found.append(
                    ImageSheet(path=_path(view, step), view=view, sha256=digest, step=step, rows=rows, columns=columns)
                )
    return found


def _views(dataset: Dataset) -> dict[View, Callable[[np.ndarray], np.ndarray]]:
    views: dict[View, Callable[[np.ndarray], np.ndarray]] = {"pixels": dataset.preprocess.invert}
    if dataset.preprocess.whiten is not None:
        views["inputs"] = visible
    return views


def _path(view: View, step: int) -> str:
    return f"{record.IMAGES}/{'step' if view == 'pixels' else view}-{step:08}.png"

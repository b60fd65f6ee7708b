"""Accuracies over the seeds of experiments, and the axes of the sweeps that they belong to."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from frepo.store.query import query

RowDict = dict[str, Any]


@dataclass(frozen=True)
class Place:
    """Where a run stands in its sweep."""

    name: str
    """Of the run."""
    sweep: str | None
    swept: dict[str, Any]
    """Axis -> value."""


def seed_rows(database: Path, run_ids: Sequence[str]) -> list[RowDict]:
    """Return the accuracies of the given runs over the seeds of their experiments, as `seed_table` has them of all."""
    return query(database, "SELECT * FROM seeds_of(?)", [list(run_ids)]).dicts()


def places_of(database: Path, run_ids: Sequence[str]) -> dict[str, Place]:
    """Return where the given runs stand, by run id."""
    sql = "SELECT run_id, name, sweep, swept FROM runs WHERE list_contains(?, run_id)"
    rows = query(database, sql, [list(run_ids)]).rows
    return {run_id: Place(name, sweep, json.loads(swept)) for run_id, name, sweep, swept in rows}


def short_names(axes: Iterable[str]) -> dict[str, str]:
    """Return each axis with its last component, or as it is where another one ends the same."""
    axes = list(dict.fromkeys(axes))
    last = {axis: axis.rsplit(".", 1)[-1] for axis in axes}
    times = Counter(last.values())
    return {axis: short if times[short] == 1 else axis for axis, short in last.items()}


def experiment_text(row: RowDict, places: dict[str, Place]) -> str:
    """Return what a row of `seed_rows` is called: its run, or its sweep and its values there, or its runs."""
    found = [places[run_id] for run_id in row["run_ids"]]
    first = found[0]
    if len(found) == 1 or first.sweep is None or any(place.sweep != first.sweep for place in found):
        return ", ".join(row["names"])
    short = short_names(first.swept)
    values = [f"{short[axis]}={value}" for axis, value in first.swept.items() if axis != "seed"]
    return " ".join([first.sweep, *values])

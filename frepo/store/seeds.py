"""Accuracies over the seeds of experiments, and the places of these in sweeps."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from frepo.store.fields import short_names, value_text
from frepo.store.query import query

RowDict = dict[str, Any]


@dataclass(frozen=True)
class Place:
    """Where a run stands in its sweep."""

    sweep: str | None
    swept: dict[str, Any]
    """Axis -> value."""


def seed_rows(database: Path, run_ids: Sequence[str]) -> list[RowDict]:
    """Return the accuracies of the given runs over the seeds of their experiments, as `seed_table` has them of all."""
    return query(database, "SELECT * FROM seeds_of(?)", [list(run_ids)]).dicts()


def places_of(database: Path, run_ids: Sequence[str]) -> dict[str, Place]:
    """Return where the given runs stand, by run id."""
    sql = "SELECT run_id, sweep, swept FROM runs WHERE list_contains(?, run_id)"
    rows = query(database, sql, [list(run_ids)]).rows
    return {run_id: Place(sweep, json.loads(swept)) for run_id, sweep, swept in rows}


def without_seeds(swept: Iterable[Mapping[str, Any]]) -> list[RowDict]:
    """Return the distinct places of a sweep, as values of its axes but the seed, in the order they came in."""
    places = [{axis: value for axis, value in place.items() if axis != "seed"} for place in swept]
    return list({json.dumps(place, sort_keys=True): place for place in places}.values())


def over(row: RowDict) -> str:
    """Return what a row of `seed_table` has its std over: `_seeds`, or nothing for the networks of a single seed.

    It stands in the names of columns: `top1_seeds_std`, `top1_std`.
    """
    return "_seeds" if row["num_seeds"] > 1 else ""


def counted(low: int, high: int, noun: str) -> str:
    """Return `low` to `high` things, or how many they are where these are equal, in words."""
    return f"{low if low == high else f'{low} to {high}'} {noun}{'' if high == 1 else 's'}"


def experiment_text(row: RowDict, places: dict[str, Place]) -> str:
    """Return what a row of `seed_rows` is called: its run, or its sweep and its places there, or its runs."""
    found = [places[run_id] for run_id in row["run_ids"]]
    first = found[0]
    if len(found) == 1 or first.sweep is None or any(place.sweep != first.sweep for place in found):
        return ", ".join(row["names"])
    short = short_names(axis for place in found for axis in place.swept)
    texts = (
        " ".join(f"{short[axis]}={value_text(value)}" for axis, value in place.items())
        for place in without_seeds(place.swept for place in found)
    )
    return f"{first.sweep} {', '.join(texts)}".rstrip()

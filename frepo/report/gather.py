"""What a page shows, read from the database."""

import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from frepo.errors import FrepoError
from frepo.store.evaluated import evaluated_as, identities_of
from frepo.store.find import find_runs, newest_runs
from frepo.store.query import query
from frepo.store.seeds import experiment_text, places_of, seed_rows
from frepo.store.tables import accuracy_rows, source_text

RowDict = dict[str, Any]


@dataclass(frozen=True)
class RunData:
    """One run: its row, its stages in order and what they left in the database."""

    run: RowDict
    stages: list[RowDict]
    metrics: list[RowDict]
    images: list[RowDict]
    networks: list[RowDict]
    """Rows of `cross_architecture`."""
    scores: list[RowDict]
    """Fair scores, where the run has them."""
    classes: list[RowDict]
    """Accuracy by class: `name`, and `cells` with `title`, `mean` and `std` for each evaluation."""
    continual_steps: list[RowDict]
    """Rows of `continual_accuracy`."""
    continual_summary: list[RowDict]
    attacks: list[RowDict]
    """Rows of `attack_table`."""


MOST_CLASSES = 200
"""More are left to SQL."""


def report_runs(database: Path, names: Sequence[str]) -> list[RowDict]:
    """Return the rows of the runs that `names` call, in their order, or of the newest of every name, newest first.

    Each has `wall_s`, the seconds that its stages took, `attempts`, those of each stage by its directory, and
    `num_seeds` and `num_chunks`, over which the std of its courses of tasks and of its attacks is taken; None where it
    has no such results.

    Raises:
        FrepoError: the database is not there, holds no run, or not one of the names.
    """
    rows = _found(database, names) if names else reversed(newest_runs(database))
    runs = {row["run_id"]: row for row in rows}
    totals = {row.pop("run_id"): row for row in query(database, TOTALS).dicts()}
    for row in totals.values():
        row["attempts"] = {stage["stage"]: json.loads(stage["attempts"]) for stage in row["attempts"] or ()}
    return [
        {**run, **totals[run_id], **{name: json.loads(run[name]) for name in ("spec", "provenance")}}
        for run_id, run in runs.items()
    ]


def _found(database: Path, names: Sequence[str]) -> list[RowDict]:
    try:
        return find_runs(database, names)
    except FrepoError:
        sql = "SELECT DISTINCT sweep FROM runs WHERE list_contains(?, sweep) AND sweep NOT IN (SELECT name FROM runs)"
        for (sweep,) in query(database, sql, [list(names)]).rows:
            raise FrepoError(f"`{sweep}` is a sweep: `frepo report --sweep {sweep}` writes its page") from None
        raise


TOTALS = """SELECT r.run_id,
    (SELECT sum(wall_s)::DOUBLE FROM run_stages JOIN stages USING (run, stage) WHERE run_id = r.run_id) AS wall_s,
    (SELECT list({'stage': stage, 'attempts': attempts} ORDER BY position)
        FROM run_stages JOIN stages USING (run, stage) WHERE run_id = r.run_id) AS attempts,
    (SELECT min(num_seeds) FROM continual_summary WHERE run_id = r.run_id) AS num_seeds,
    (SELECT min(num_chunks) FROM attack_table WHERE run_id = r.run_id) AS num_chunks
    FROM runs r"""


def gather(database: Path, runs: Sequence[RowDict]) -> list[RunData]:
    """Return what the database holds of rows of `report_runs`, asked for all at once."""
    run_ids = [run["run_id"] for run in runs]

    def by_run(sql: str) -> dict[str, list[RowDict]]:
        found: dict[str, list[RowDict]] = {run_id: [] for run_id in run_ids}
        for row in query(database, sql, [run_ids]).dicts():
            found[row["run_id"]].append(row)
        return found

    def of_stages(table: str, order: str) -> dict[str, list[RowDict]]:
        return by_run(f"""SELECT t.*, rs.run_id FROM run_stages rs JOIN {table} t USING (run, stage)
            WHERE list_contains(?, rs.run_id) ORDER BY rs.position, {order}""")  # noqa: S608 (names from below)

    def of_view(view: str) -> dict[str, list[RowDict]]:
        return by_run(f"SELECT * FROM {view} WHERE list_contains(?, run_id)")  # noqa: S608

    tables = {
        "stages": of_stages("stages", "t.stage"),
        "metrics": of_stages("metrics", "t.step"),
        "images": of_stages("images", "t.step"),
        "scores": of_stages("scores", "t.name"),
        "networks": of_view("cross_architecture"),
        "continual_steps": of_view("continual_accuracy"),
        "continual_summary": of_view("continual_summary"),
        "attacks": of_view("attack_table"),
    }
    names = {run_id: titles(stages) for run_id, stages in tables["stages"].items()}
    tables["classes"] = {run_id: _by_class(rows, names[run_id]) for run_id, rows in by_run(CLASSES).items()}
    for stage in itertools.chain(*tables["stages"].values()):
        stage["attempts"] = json.loads(stage["attempts"])
    return [RunData(run, **{name: rows[run["run_id"]] for name, rows in tables.items()}) for run in runs]


def titles(stages: Sequence[RowDict]) -> dict[str, str]:
    """Return what a page calls each stage: its label, or its directory where another one has the same label."""
    labels = [stage["label"] for stage in stages]
    return {
        stage["stage"]: (label if labels.count(label) == 1 else stage["stage"]).removeprefix("evaluate-")
        for stage, label in zip(stages, labels, strict=True)
    }


CLASSES = """SELECT c.* FROM class_accuracy c JOIN run_stages s USING (run_id, stage)
    WHERE list_contains(?, run_id) AND predictor = 'network' ORDER BY c.label, s.position"""


def _by_class(found: list[RowDict], names: dict[str, str]) -> list[RowDict]:
    """Return a row for each class, its accuracy after each evaluation by the networks themselves."""
    rows: dict[int, RowDict] = {}
    for row in found:
        name = row["class_name"] or str(row["label"])
        cells = rows.setdefault(row["label"], {"name": name, "cells": []})["cells"]
        cells.append({"title": names[row["stage"]], "mean": row["accuracy_mean"], "std": row["accuracy_std"]})
    return list(rows.values()) if len(rows) <= MOST_CLASSES else []


def accuracies(database: Path, run_ids: Sequence[str]) -> dict[str, list[RowDict]]:
    """Return for each run its rows of `accuracy_table`.

    Each has `gain`, the top-1 over that of random images evaluated with the same settings, or None.
    """
    identities = identities_of(database, run_ids)
    rows = accuracy_rows(database, run_ids)
    random = {evaluated_as(row, identities): row["top1_mean"] for row in rows if row["source"] == "random"}
    found: dict[str, list[RowDict]] = {run_id: [] for run_id in run_ids}
    for row in rows:
        base = None if row["source"] == "random" else random.get(evaluated_as(row, identities))
        row["gain"] = None if base is None else row["top1_mean"] - base
        found[row["run_id"]].append(row)
    return found


def seed_numbers(database: Path, run_ids: Sequence[str]) -> list[tuple[str, str, RowDict]]:
    """Return experiment, source and row of `seed_table` for each accuracy that several seeds among the runs have."""
    places = places_of(database, run_ids)
    rows = [row for row in seed_rows(database, run_ids) if row["num_seeds"] > 1]
    return [(experiment_text(row, places), source_text(row), row) for row in rows]

"""What a page shows, read from the database."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from frepo.identity import canonical_json
from frepo.store.find import find_runs, newest_runs
from frepo.store.query import query
from frepo.store.tables import accuracy_rows

RowDict = dict[str, Any]


@dataclass(frozen=True)
class RunData:
    """One run: its row, its stages in order and what they left in the database."""

    run: RowDict
    stages: list[RowDict]
    accuracies: list[RowDict]
    """Rows of `accuracy_table`; each has `models`, the top-1 of every network, and `gain` over random, or None."""
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


def gather(database: Path, names: Sequence[str]) -> list[RunData]:
    """Return the newest run of each of `names` (or that with this id), or of every name, oldest first.

    Raises:
        FrepoError: the database is not there, holds no run, or not one of the names.
    """
    found = {row["run_id"]: row for row in (find_runs(database, names) if names else newest_runs(database))}
    newest = sorted(found.values(), key=lambda row: (row["created_at"], row["run_id"]))
    return [_run_data(database, row) for row in newest]


def _run_data(database: Path, run: RowDict) -> RunData:
    def of_stages(table: str, order: str) -> list[RowDict]:
        sql = f"""SELECT t.*, rs.position FROM run_stages rs JOIN {table} t USING (run, stage)
            WHERE rs.run_id = ? ORDER BY rs.position, {order}"""  # noqa: S608 (called with names from below)
        return query(database, sql, [run["run_id"]]).dicts()

    def of_view(view: str) -> list[RowDict]:
        return query(database, f"SELECT * FROM {view} WHERE run_id = ?", [run["run_id"]]).dicts()  # noqa: S608

    stages = of_stages("stages", "t.stage")
    for stage in stages:
        stage["attempts"] = json.loads(stage["attempts"])
    return RunData(
        run={**run, "provenance": json.loads(run["provenance"])},
        stages=stages,
        accuracies=_with_gains(accuracy_rows(database, [run["run_id"]]), of_stages("evaluations", "t.model"), stages),
        metrics=of_stages("metrics", "t.step, t.name"),
        images=of_stages("images", "t.step"),
        networks=of_view("cross_architecture"),
        scores=of_stages("scores", "t.name"),
        classes=_by_class(database, run["run_id"]),
        continual_steps=of_view("continual_accuracy"),
        continual_summary=of_view("continual_summary"),
        attacks=of_view("attack_table"),
    )


def _by_class(database: Path, run_id: str) -> list[RowDict]:
    """Return a row for each class, its accuracy after each evaluation by the networks themselves."""
    found = query(
        database,
        """SELECT c.*, t.label AS stage_label FROM class_accuracy c
        JOIN run_stages s USING (run_id, stage) JOIN stages t USING (run, stage)
        WHERE run_id = ? AND predictor = 'network' ORDER BY c.label, s.position""",
        [run_id],
    ).dicts()
    rows: dict[int, RowDict] = {}
    for row in found:
        name = row["class_name"] or str(row["label"])
        cells = rows.setdefault(row["label"], {"name": name, "cells": []})["cells"]
        title = row["stage_label"].removeprefix("evaluate-")
        cells.append({"title": title, "mean": row["accuracy_mean"], "std": row["accuracy_std"]})
    return list(rows.values()) if len(rows) <= MOST_CLASSES else []


def _with_gains(rows: list[RowDict], evaluations: list[RowDict], stages: list[RowDict]) -> list[RowDict]:
    """Add the top-1 of each network, and the gain over random images evaluated with the same settings."""
    settings = {stage["stage"]: _settings(json.loads(stage["identity"])) for stage in stages}
    random = {(settings[row["stage"]], row["predictor"]): row["top1_mean"] for row in rows if row["source"] == "random"}
    for row in rows:
        base = random.get((settings[row["stage"]], row["predictor"]))
        row["gain"] = None if base is None or row["source"] == "random" else row["top1_mean"] - base
        row["models"] = [
            entry["top1"]
            for entry in evaluations
            if entry["stage"] == row["stage"] and entry["predictor"] == row["predictor"]
        ]
    return rows


def _settings(identity: RowDict) -> str:
    """Return all that an evaluation depends on but its data, and how that is labelled."""
    recipe = identity.get("recipe", {})
    kept = {key: value for key, value in recipe.items() if key not in ("labels", "loss", "temperature", "predictors")}
    return canonical_json({"architecture": identity.get("architecture"), "recipe": kept})

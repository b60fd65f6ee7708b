"""The accuracy table of many runs, read at once."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from frepo.identity import canonical_json
from frepo.store.query import query
from frepo.store.tables import accuracy_rows

RowDict = dict[str, Any]


def accuracies(database: Path, run_ids: Sequence[str]) -> dict[str, list[RowDict]]:
    """Return for each run its rows of `accuracy_table`.

    Each has `models`, the top-1 of every network, and `gain`, the top-1 over that of random images evaluated with the
    same settings, or None.
    """
    identities = query(
        database,
        """SELECT DISTINCT run, stage, identity FROM stages JOIN run_stages USING (run, stage)
        WHERE kind = 'evaluate' AND list_contains(?, run_id)""",
        [list(run_ids)],
    ).dicts()
    settings = {(row["run"], row["stage"]): _settings(json.loads(row["identity"])) for row in identities}
    models = query(
        database,
        """SELECT run, stage, predictor, list(top1 ORDER BY model) AS top1 FROM evaluations
        GROUP BY run, stage, predictor""",
    ).dicts()
    top1 = {(row["run"], row["stage"], row["predictor"]): row["top1"] for row in models}

    def evaluated_as(row: RowDict) -> tuple[str, ...]:
        return row["run_id"], settings[row["name"], row["stage"]], row["predictor"]

    rows = accuracy_rows(database, run_ids)
    random = {evaluated_as(row): row["top1_mean"] for row in rows if row["source"] == "random"}
    found: dict[str, list[RowDict]] = {run_id: [] for run_id in run_ids}
    for row in rows:
        base = None if row["source"] == "random" else random.get(evaluated_as(row))
        row["gain"] = None if base is None else row["top1_mean"] - base
        row["models"] = top1[row["name"], row["stage"], row["predictor"]]
        found[row["run_id"]].append(row)
    return found


def _settings(identity: RowDict) -> str:
    """Return all that an evaluation depends on but its data, and how that is labelled."""
    recipe = identity.get("recipe", {})
    kept = {key: value for key, value in recipe.items() if key not in ("labels", "loss", "temperature", "predictors")}
    return canonical_json({"architecture": identity.get("architecture"), "recipe": kept})

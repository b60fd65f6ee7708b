"""How the networks of a row of `accuracy_table` were trained: all that its stage depends on but the data."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from frepo.plan.identity import canonical_json
from frepo.store.query import query

RowDict = dict[str, Any]
Identities = dict[tuple[str, str], RowDict]
"""Identity of a stage by run and stage."""


def identities_of(database: Path, run_ids: Sequence[str]) -> Identities:
    """Return the identities of the evaluations of the given runs."""
    rows = query(
        database,
        """SELECT DISTINCT run, stage, identity FROM stages JOIN run_stages USING (run, stage)
        WHERE list_contains(?, run_id) AND (run, stage) IN (SELECT (run, stage) FROM evaluations)""",
        [list(run_ids)],
    ).dicts()
    return {(row["run"], row["stage"]): json.loads(row["identity"]) for row in rows}


def trained_as(row: RowDict, identities: Identities) -> tuple[Any, ...]:
    """Return what is the same for rows whose networks share seeds, architecture and recipe, one by one."""
    identity = identities[row["name"], row["stage"]]
    settings = {name: identity.get(name) for name in ("seed", "architecture", "recipe", "epochs")}
    return canonical_json(settings), row["predictor"], row["steps"], row["num_models"]


def evaluated_as(row: RowDict, identities: Identities) -> tuple[Any, ...]:
    """Return what is the same for rows of a run that differ in their data, and how that is labelled, alone."""
    identity = identities[row["name"], row["stage"]]
    recipe = identity.get("recipe", {})
    kept = {key: value for key, value in recipe.items() if key not in ("labels", "loss", "temperature", "predictors")}
    return (
        row["run_id"],
        canonical_json({"architecture": identity.get("architecture"), "recipe": kept}),
        row["predictor"],
    )

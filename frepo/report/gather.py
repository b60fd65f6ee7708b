"""What a page shows, read from the database."""

import difflib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from frepo.errors import FrepoError
from frepo.identity import canonical_json
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


def gather(database: Path, names: Sequence[str]) -> list[RunData]:
    """Return the newest run of each of `names`, or of every name, oldest first.

    Raises:
        FrepoError: the database is not there, holds no run, or not one of the names.
    """
    known = [row["name"] for row in query(database, "SELECT DISTINCT name FROM runs ORDER BY name").dicts()]
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
            hint = f", did you mean `{near[0]}`?" if near else ";"
            raise FrepoError(f"there is no run `{name}` in {database}{hint} `frepo runs` lists them")
    if not known:
        raise FrepoError(f"there are no runs in {database}; `frepo run SPEC` makes one")
    newest = query(
        database,
        """SELECT * FROM runs WHERE list_contains(?, name)
        QUALIFY row_number() OVER (PARTITION BY name ORDER BY created_at DESC, run_id) = 1
        ORDER BY created_at, run_id""",
        [list(names) or known],
    ).dicts()
    return [_run_data(database, row) for row in newest]


def _run_data(database: Path, run: RowDict) -> RunData:
    def of_stages(table: str, order: str) -> list[RowDict]:
        sql = f"""SELECT t.*, rs.position FROM run_stages rs JOIN {table} t USING (run, stage)
            WHERE rs.run_id = ? ORDER BY rs.position, {order}"""  # noqa: S608 (called with names from below)
        return query(database, sql, [run["run_id"]]).dicts()

    stages = of_stages("stages", "t.stage")
    for stage in stages:
        stage["attempts"] = json.loads(stage["attempts"])
    return RunData(
        run={**run, "provenance": json.loads(run["provenance"])},
        stages=stages,
        accuracies=_with_gains(accuracy_rows(database, [run["run_id"]]), of_stages("evaluations", "t.model"), stages),
        metrics=of_stages("metrics", "t.step, t.name"),
        images=of_stages("images", "t.step"),
    )


def _with_gains(rows: list[RowDict], evaluations: list[RowDict], stages: list[RowDict]) -> list[RowDict]:
    """Add the top-1 of each network, and the gain over random images evaluated with the very same settings."""
    settings = {stage["stage"]: _settings(json.loads(stage["identity"])) for stage in stages}
    random = {settings[row["stage"]]: row["top1_mean"] for row in rows if row["source"] == "random"}
    for row in rows:
        base = random.get(settings[row["stage"]])
        row["gain"] = None if base is None or row["source"] == "random" else row["top1_mean"] - base
        row["models"] = [entry["top1"] for entry in evaluations if entry["stage"] == row["stage"]]
    return rows


def _settings(identity: RowDict) -> str:
    """Return all that an evaluation depends on but its data."""
    return canonical_json({key: value for key, value in identity.items() if key not in ("source", "needs")})

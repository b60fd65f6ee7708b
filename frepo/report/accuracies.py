"""The accuracy table of many runs, read at once."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from frepo.store.evaluated import evaluated_as, identities_of
from frepo.store.tables import accuracy_rows

RowDict = dict[str, Any]


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

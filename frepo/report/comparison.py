"""Runs side by side: their accuracies, how their specs differ, their images."""

from dataclasses import dataclass
from typing import Any

from frepo.identity import Change, differences
from frepo.store.tables import network_text, source_text


@dataclass(frozen=True)
class Comparison:
    """What the template shows, in the order of `names`."""

    names: list[str]
    rows: list[tuple[str, list[dict[str, Any] | None]]]
    """What was trained on what, and the row of `accuracy_table` of each run, or None."""
    changes: list[tuple[str, list[Change]]]
    """For each run but the first its name, and the fields that are not those of the first."""


def compare(runs: list[dict[str, Any]], accuracies: dict[str, list[dict[str, Any]]]) -> Comparison | None:
    """Return how rows of `shown_runs` compare, or None where there are fewer than two."""
    if len(runs) < 2:
        return None
    cells = [{_alike(row): row for row in reversed(accuracies[run["run_id"]])} for run in runs]
    names = list(dict.fromkeys(_alike(row) for run in runs for row in accuracies[run["run_id"]]))
    first, *others = [{**run["spec"], "name": None} for run in runs]
    return Comparison(
        [run["name"] for run in runs],
        [(name, [of_run.get(name) for of_run in cells]) for name in names],
        [(run["name"], differences(first, other)) for run, other in zip(runs[1:], others, strict=True)],
    )


def _alike(row: dict[str, Any]) -> str:
    return f"{source_text(row)}: {network_text(row)}"

"""Class-incremental learning in a report: a curve over the steps, and a table."""

from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from frepo.report.lines import lines_svg


@dataclass(frozen=True)
class ContinualSection:
    """What the template shows."""

    summary: list[dict[str, Any]]
    picture: Markup


def continual_section(steps: list[dict[str, Any]], summary: list[dict[str, Any]]) -> ContinualSection | None:
    """Return the section of rows of `continual_accuracy` and `continual_summary`, or None where there are none."""
    if not summary:
        return None
    rows = [
        {
            "x": row["step"],
            "y": 100 * row["accuracy_mean"],
            "spread": 100 * (row["accuracy_std"] or 0),
            "line": _named(row),
        }
        for row in steps
    ]
    picture = lines_svg(rows, "Accuracy on all classes seen", "after step", "percent", logarithmic=False)
    return ContinualSection([{**row, "memory": _named(row)} for row in summary], picture)


def _named(row: dict[str, Any]) -> str:
    return row["source"] if row["predictor"] == "network" else f"{row['source']}, {row['predictor']}"

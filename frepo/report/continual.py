"""Class-incremental learning in a report: a curve over the steps, and a table."""

from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from frepo.report.lines import lines
from frepo.store.tables import source_text


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
            "line": source_text(row),
        }
        for row in steps
    ]
    picture = lines(rows, "Accuracy on all classes seen", "after step", "percent", logarithmic=False)
    return ContinualSection(summary, picture)

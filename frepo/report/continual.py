"""Class-incremental learning in a report: a curve over the steps, and tables."""

from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from frepo.report.lines import lines
from frepo.store.tables import source_text


@dataclass(frozen=True)
class ContinualSection:
    """What the template shows."""

    summary: list[dict[str, Any]]
    steps: list[int]
    memories: dict[str, dict[int, dict[str, Any]]]
    """For each memory, the best on average first, its row of `continual_accuracy` after each step."""
    picture: Markup


def continual_section(rows: list[dict[str, Any]], summary: list[dict[str, Any]]) -> ContinualSection | None:
    """Return the section of rows of `continual_accuracy` and `continual_summary`, or None where there are none."""
    if not summary:
        return None
    memories: dict[str, dict[int, dict[str, Any]]] = {source_text(row): {} for row in summary}
    for row in rows:
        memories.setdefault(source_text(row), {})[row["step"]] = row  # a course without its last step has no summary
    points = [
        {
            "x": row["step"],
            "y": 100 * row["accuracy_mean"],
            "spread": 100 * (row["accuracy_std"] or 0),
            "line": name,
        }
        for name, memory in memories.items()
        for row in memory.values()
    ]
    picture = lines(points, "Accuracy on all classes seen", "after step", "percent", logarithmic=False)
    return ContinualSection(summary, sorted({row["step"] for row in rows}), memories, picture)

"""Training curves: a chart for each metric, a line for each stage."""

from typing import Any

from markupsafe import Markup

from frepo.report.vega import HEIGHT, WIDTH, by_line, svg
from frepo.spec import method_tables

MOST_LINES = 12
"""More could not be told apart."""

CURVES = {
    **{name: metric for table in method_tables().values() for name, metric in table.metrics.items()},
    "train_loss": ("Training loss of the evaluated networks (mean)", "loss", True),
    "test_accuracy": ("Test accuracy of the evaluated networks (mean)", "share right", False),
    "validation_accuracy": ("Accuracy on held-out training images", "share right", False),
}
"""Metric -> (title, axis, whether the axis is logarithmic)."""


def training_curves(metrics: list[dict[str, Any]], labels: dict[str, str]) -> list[Markup]:
    """Return a picture for each known metric; `labels` names stages."""
    drawn: list[Markup] = []
    for name, (title, axis, logarithmic) in CURVES.items():
        rows = [
            {"step": row["step"], "value": row["value"], "stage": labels[row["stage"]]}
            for row in metrics
            if row["name"] == name and row["value"] is not None
        ]
        shown = list(dict.fromkeys(row["stage"] for row in rows))[:MOST_LINES]
        subtitle = f"the first {MOST_LINES} stages" if len(shown) < len({row["stage"] for row in rows}) else ""
        rows = [row for row in rows if row["stage"] in shown]
        if len({row["step"] for row in rows}) > 1:  # else there is no line to draw
            drawn.append(_picture(rows, title, subtitle, axis, logarithmic=logarithmic))
    return drawn


def _picture(rows: list[dict[str, Any]], title: str, subtitle: str, axis: str, *, logarithmic: bool) -> Markup:
    logarithmic = logarithmic and all(row["value"] > 0 for row in rows)
    last = {row["stage"]: row for row in rows}
    ends = "; ".join(f"{stage} ends at {row['value']:.3g} at step {row['step']:,}" for stage, row in last.items())
    scale = {"type": "log" if logarithmic else "linear", "zero": False}
    small = "datum.value < 0.001 ? format(datum.value, '.0e') : datum.label"
    axis_labels = {"labelExpr": small} if logarithmic else {}
    return svg(
        title,
        f"{axis} against the step: {ends}.",
        rows,
        subtitle,
        width=WIDTH,
        height=HEIGHT,
        mark={"type": "line", "strokeWidth": 1.5},
        encoding={
            "x": {"field": "step", "type": "quantitative", "title": "step", "axis": {"tickCount": 5}},
            "y": {"field": "value", "type": "quantitative", "title": axis, "scale": scale, "axis": axis_labels},
            **by_line("stage", rows),
        },
    )

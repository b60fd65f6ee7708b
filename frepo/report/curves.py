"""Training curves as SVG, drawn by Vega-Lite without a browser."""

from typing import Any

import vl_convert

WIDTH, HEIGHT = 340, 200

MOST_LINES = 12
"""More could not be told apart."""

CURVES = {
    "krr_accuracy": ("Regression accuracy on training batches", "share right", False),
    "krr_error": ("Regression error on training batches", "half squared error", True),
    "train_loss": ("Training loss of the evaluated networks (mean)", "loss", True),
    "test_accuracy": ("Test accuracy of the evaluated networks (mean)", "share right", False),
    "validation_accuracy": ("Accuracy on held-out training images", "share right", False),
}
"""Metric -> (title, axis, whether the axis is logarithmic)."""


def curves_svg(metrics: list[dict[str, Any]], labels: dict[str, str]) -> list[str]:
    """Return an SVG for each known metric, a line for each stage; `labels` names stages."""
    drawn = []
    for name, (title, axis, logarithmic) in CURVES.items():
        rows = [
            {"step": row["step"], "value": row["value"], "stage": labels[row["stage"]]}
            for row in metrics
            if row["name"] == name
        ]
        shown = list(dict.fromkeys(row["stage"] for row in rows))[:MOST_LINES]
        if len(shown) < len({row["stage"] for row in rows}):
            title = f"{title}, the first {MOST_LINES} stages"
        rows = [row for row in rows if row["stage"] in shown]
        if rows:
            drawn.append(vl_convert.vegalite_to_svg(_chart(rows, title, axis, logarithmic=logarithmic)))
    return drawn


def _chart(rows: list[dict[str, Any]], title: str, axis: str, *, logarithmic: bool) -> dict[str, Any]:
    logarithmic = logarithmic and all(row["value"] > 0 for row in rows)
    stages = sorted({row["stage"] for row in rows})
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "description": f"{title} against the step, for {', '.join(stages)}",
        "title": {"text": title, "anchor": "start"},
        "width": WIDTH,
        "height": HEIGHT,
        "background": "white",
        "data": {"values": rows},
        "mark": {"type": "line", "strokeWidth": 1.5},
        "encoding": {
            "x": {"field": "step", "type": "quantitative", "title": "step"},
            "y": {
                "field": "value",
                "type": "quantitative",
                "title": axis,
                "scale": {"type": "log" if logarithmic else "linear", "zero": False},
            },
            "color": {"field": "stage", "type": "nominal", "title": None, "legend": {"orient": "bottom"}},
        },
    }

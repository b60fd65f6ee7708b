"""Accuracies across architectures: networks down, sources of data across, and the same as a picture."""

from dataclasses import dataclass
from typing import Any

import vl_convert
from markupsafe import Markup

from frepo.store.tables import network_text

BAR = 12


@dataclass(frozen=True)
class Matrix:
    """What the template shows."""

    sources: list[str]
    rows: list[tuple[str, list[dict[str, Any] | None]]]
    num_models: str
    picture: Markup


def cross_architecture_matrix(found: list[dict[str, Any]]) -> Matrix | None:
    """Return the matrix of the rows of `cross_architecture` of a run, or None where there are none."""
    rows = [row for row in found if row["predictor"] == "network"]
    networks = list(dict.fromkeys(network_text(row) for row in rows))
    if not rows:
        return None
    sources = list(dict.fromkeys(_source(row) for row in rows))
    cells = {(network_text(row), _source(row)): row for row in reversed(rows)}
    counts = sorted({row["num_models"] for row in rows})
    return Matrix(
        sources,
        [(network, [cells.get((network, source)) for source in sources]) for network in networks],
        " or ".join(map(str, counts)),
        Markup(vl_convert.vegalite_to_svg(_chart(list(cells.values()), networks, sources))),  # noqa: S704 (Vega escapes text)
    )


def _source(row: dict[str, Any]) -> str:
    hard = row["source"] == "distilled" and row["labels"] == "hard"
    return f"{row['source']}, hard labels" if hard else str(row["source"])


def _chart(rows: list[dict[str, Any]], networks: list[str], sources: list[str]) -> dict[str, Any]:
    values = [
        {
            "network": network_text(row),
            "source": _source(row),
            "top1": 100 * row["top1_mean"],
            "low": 100 * (row["top1_mean"] - (row["top1_std"] or 0)),
            "high": 100 * (row["top1_mean"] + (row["top1_std"] or 0)),
        }
        for row in rows
    ]
    y = {"field": "network", "type": "nominal", "sort": networks, "title": None, "axis": {"labelLimit": 300}}
    offset = {"field": "source", "type": "nominal", "sort": sources}
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "description": f"Top-1 accuracy of {', '.join(networks)} trained on {', '.join(sources)}",
        "title": {"text": "Top-1 across architectures, mean and deviation over networks", "anchor": "start"},
        "width": 480,
        "height": {"step": BAR, "for": "offset"},
        "background": "white",
        "data": {"values": values},
        "layer": [
            {
                "mark": {"type": "bar"},
                "encoding": {
                    "y": y,
                    "yOffset": offset,
                    "x": {"field": "top1", "type": "quantitative", "title": "percent"},
                    "color": {**offset, "title": None, "legend": {"orient": "bottom"}},
                },
            },
            {
                "mark": {"type": "rule"},
                "encoding": {
                    "y": y,
                    "yOffset": offset,
                    "x": {"field": "low", "type": "quantitative"},
                    "x2": {"field": "high"},
                },
            },
        ],
    }

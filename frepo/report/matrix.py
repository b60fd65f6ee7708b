"""Accuracies across architectures: networks down, sources of data across, and the same as a picture."""

from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from frepo.report.vega import svg
from frepo.store.tables import network_text, source_text

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
    rows = _named([row for row in found if row["predictor"] == "network"])
    networks = list(dict.fromkeys(row["network"] for row in rows))
    if not rows:
        return None
    sources = list(dict.fromkeys(source_text(row) for row in rows))
    cells = {(row["network"], source_text(row)): row for row in rows}
    counts = sorted({row["num_models"] for row in rows})
    return Matrix(
        sources,
        [(network, [cells.get((network, source)) for source in sources]) for network in networks],
        " or ".join(map(str, counts)),
        _picture(list(cells.values()), networks, sources),
    )


SETTINGS = ("steps", "learning_rate", "loss", "optimizer", "augmentation", "augmentation_mode", "stage")
"""What tells networks of one kind apart that were trained on the same data in several ways; at last the stage does."""


def _named(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return rows with the text of their `network`, which tells all apart that were trained on the same data."""
    names = [network_text(row) for row in rows]
    for setting in SETTINGS:
        places: dict[tuple[str, str], list[int]] = {}
        for number, row in enumerate(rows):
            places.setdefault((names[number], source_text(row)), []).append(number)
        for alike in places.values():
            if len({rows[number][setting] for number in alike}) > 1:
                for number in alike:
                    names[number] += f", {setting.replace('_', ' ')} {rows[number][setting]}"
    return [{**row, "network": name} for row, name in zip(rows, names, strict=True)]


def _picture(rows: list[dict[str, Any]], networks: list[str], sources: list[str]) -> Markup:
    values = [
        {
            "network": row["network"],
            "source": source_text(row),
            "top1": 100 * row["top1_mean"],
            "low": 100 * (row["top1_mean"] - (row["top1_std"] or 0)),
            "high": 100 * (row["top1_mean"] + (row["top1_std"] or 0)),
        }
        for row in rows
    ]
    y = {"field": "network", "type": "nominal", "sort": networks, "title": None, "axis": {"labelLimit": 300}}
    offset = {"field": "source", "type": "nominal", "sort": sources}
    across = {"type": "quantitative", "title": "percent"}
    legend = {"orient": "bottom", "symbolType": "square"}
    return svg(
        "Top-1 across architectures, mean and deviation over networks",
        f"Bars of the table above: {', '.join(networks)}, trained on {', '.join(sources)}.",
        values,
        width=420,
        height={"step": BAR, "for": "offset"},
        layer=[
            {
                "mark": {"type": "bar"},
                "encoding": {
                    "y": y,
                    "yOffset": offset,
                    "x": {"field": "top1", **across},
                    "color": {**offset, "title": None, "legend": legend},
                },
            },
            {
                "mark": {"type": "rule"},
                "encoding": {"y": y, "yOffset": offset, "x": {"field": "low", **across}, "x2": {"field": "high"}},
            },
        ],
    )

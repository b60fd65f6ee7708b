"""Charts as SVG, drawn by Vega-Lite without a browser, for light and dark pages alike."""

from collections.abc import Iterable
from typing import Any

import vl_convert
from markupsafe import Markup, escape

WIDTH, HEIGHT = 340, 200
LONGEST_OF_TWO = 24
"""Letters of a line's name up to which two stand side by side."""
QUIET = "#808790"
"""Of lines of a grid: seen on white and on black."""
COLORS = ["#2a78b8", "#d1611f", "#2e8b4a", "#9a6bc9", "#8a7148", "#178f96", "#c94f7c", "#75808a"]
"""Each has a contrast of 3 to 1 or more to both backgrounds of the page."""

CONFIG = {
    "aria": False,  # the picture has one text, below; a label for every point would only be noise
    "background": None,
    "view": {"stroke": None},
    "title": {"color": "currentColor", "subtitleColor": "currentColor", "fontSize": 13, "fontWeight": 600},
    "axis": {
        **{f"{part}Color": "currentColor" for part in ("label", "title")},
        **{f"{part}Color": QUIET for part in ("domain", "tick", "grid")},
        "gridOpacity": 0.3,
        "titleFontWeight": "normal",
        "labelOverlap": True,
    },
    "legend": {"labelColor": "currentColor", "labelLimit": 320, "symbolType": "stroke"},
    "range": {"category": COLORS},
    "rule": {"color": "currentColor"},
}


def svg(title: str, description: str, values: list[dict[str, Any]], subtitle: str = "", **chart: Any) -> Markup:
    """Return a chart of `values`, with `title` and `description` for those who do not see it.

    `chart` is the rest of its Vega-Lite specification.
    """
    specification = {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "title": {"text": title, "anchor": "start", **({"subtitle": subtitle} if subtitle else {})},
        "data": {"values": values},
        "padding": 12,  # the reader's font may be wider than the one that was measured
        "config": CONFIG,
        **chart,
    }
    drawn = vl_convert.vegalite_to_svg(specification)
    head, body = drawn.removesuffix("</svg>").split(">", 1)
    words = f"<title>{escape(title)}</title><desc>{escape(description)}</desc>"
    return Markup(f'{head} role="img">{words}<g aria-hidden="true">{body}</g></svg>')  # noqa: S704 (Vega escapes text)


def by_line(field: str, rows: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Return the encoding that tells the lines of `rows` apart, by colour and by dashes."""
    longest = max(len(row[field]) for row in rows)
    columns = 2 if longest <= LONGEST_OF_TWO else 1  # the reader's font may be wider than the one that was measured
    legend = {"field": field, "type": "nominal", "title": None, "legend": {"orient": "bottom", "columns": columns}}
    return {"color": legend, "strokeDash": legend}

"""Charts, drawn by Vega-Lite without a browser: in a page, for light and dark alike."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import vl_convert
from markupsafe import Markup, escape

RowDict = dict[str, Any]

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


@dataclass(frozen=True)
class Chart:
    """A chart that is drawn when it is asked for."""

    key: str
    """Its name among the charts of a run: letters, digits and hyphens."""
    title: str
    description: str
    """Its content in words, for those who do not see it."""
    values: Sequence[RowDict]
    drawing: RowDict
    """The rest of its Vega-Lite specification."""
    subtitle: str = ""

    def svg(self) -> Markup:
        """Return it as an element of a page, under its title."""
        title = {"text": self.title, "anchor": "start", **({"subtitle": self.subtitle} if self.subtitle else {})}
        specification = {
            "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
            "title": title,
            "data": {"values": self.values},
            "padding": 12,  # the reader's font may be wider than the one that was measured
            "config": CONFIG,
            **self.drawing,
        }
        head, body = vl_convert.vegalite_to_svg(specification).removesuffix("</svg>").split(">", 1)
        words = f"<title>{escape(self.title)}</title><desc>{escape(self.description)}</desc>"
        drawn = f'{head} role="img">{words}<g aria-hidden="true">{body}</g></svg>'
        return Markup(drawn)  # noqa: S704 (Vega escapes text)


def by_line(field: str, rows: Iterable[RowDict]) -> RowDict:
    """Return the encoding that tells the lines of `rows` apart, by colour and by dashes."""
    longest = max(len(row[field]) for row in rows)
    columns = 2 if longest <= LONGEST_OF_TWO else 1  # the reader's font may be wider than the one that was measured
    legend = {"field": field, "type": "nominal", "title": None, "legend": {"orient": "bottom", "columns": columns}}
    return {"color": legend, "strokeDash": legend}


def lines(
    key: str,
    rows: list[RowDict],
    title: str,
    x: str,
    y: str,
    *,
    logarithmic: bool,
    domain: tuple[float, float] | None = None,
) -> Chart:
    """Return a chart of rows with `x`, `y`, the `std` of `y` and the name of their `line`: lines with bars.

    `logarithmic` is the x axis; `domain` the ends of the y axis, where charts are to be compared.
    """
    last = {row["line"]: row for row in rows}
    ends = "; ".join(f"{name} ends at {row['y']:.3g}" for name, row in last.items())
    values = [{**row, "low": row["y"] - row["std"], "high": row["y"] + row["std"]} for row in rows]
    across = {
        "field": "x",
        "type": "quantitative",
        "title": x,
        "scale": {"type": "log"} if logarithmic else {"zero": False},
        "axis": {"values": sorted({row["x"] for row in rows}), "format": ",d"},
    }
    scale = {"zero": False} if domain is None else {"domain": domain, "nice": True}
    up = {"type": "quantitative", "title": y, "scale": scale}
    told_apart = by_line("line", rows)
    layers = [
        {
            "mark": {"type": "line", "point": True, "strokeWidth": 1.5},
            "encoding": {"x": across, "y": {"field": "y", **up}, **told_apart},
        },
        {
            "mark": {"type": "rule"},
            "encoding": {"x": across, "y": {"field": "low", **up}, "y2": {"field": "high"}, **told_apart},
        },
    ]
    drawing = {"width": WIDTH, "height": HEIGHT, "layer": layers}
    return Chart(key, title, f"{y} against {x}: {ends}.", values, drawing)

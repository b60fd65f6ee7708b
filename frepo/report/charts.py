"""Charts, drawn by Vega-Lite without a browser: for a page, light or dark, and for print."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

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

MOST_LINES = len(COLORS)
"""Lines of a chart: more could not be told apart."""

SCHEMA = "https://vega.github.io/schema/vega-lite/v5.json"

Kind = Literal["svg", "pdf"]


def _config(ink: str, label_size: int, title_size: int) -> RowDict:
    return {
        "aria": False,  # the picture has one text, below; a label for every point would only be noise
        "background": None,
        "view": {"stroke": None},
        "title": {"color": ink, "subtitleColor": ink, "fontSize": 13, "fontWeight": 600},
        "axis": {
            **{f"{part}Color": ink for part in ("label", "title")},
            **{f"{part}Color": QUIET for part in ("domain", "tick", "grid")},
            "gridOpacity": 0.3,
            "labelFontSize": label_size,
            "titleFontSize": title_size,
            "titleFontWeight": "normal",
            "labelOverlap": True,
        },
        "legend": {"labelColor": ink, "labelFontSize": label_size, "labelLimit": 320, "symbolType": "stroke"},
        "range": {"category": COLORS},
        "rule": {"color": ink},
    }


ON_PAGE = _config("currentColor", 10, 11)
IN_PRINT = _config("black", 12, 13)
"""Letters that can be read where a chart of WIDTH is shrunk to a column of 3.25 inches: then they have 7 points."""


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
        # The reader's font may be wider than the one that was measured.
        drawn = self._svg({"title": title, "padding": 12, "config": ON_PAGE})
        return Markup(drawn)  # noqa: S704 (Vega escapes text)

    def figure(self, kind: Kind) -> bytes:
        """Return it as a file for print: black on nothing, its title left to the caption."""
        style = {"padding": 4, "config": IN_PRINT}
        if kind == "svg":
            return self._svg(style).encode()
        return vl_convert.vegalite_to_pdf(self._specification(style))

    def _svg(self, style: RowDict) -> str:
        head, body = vl_convert.vegalite_to_svg(self._specification(style)).removesuffix("</svg>").split(">", 1)
        words = f"<title>{escape(self.title)}</title><desc>{escape(self.description)}</desc>"
        return f'{head} role="img">{words}<g aria-hidden="true">{body}</g></svg>'

    def _specification(self, style: RowDict) -> RowDict:
        return {"$schema": SCHEMA, "data": {"values": self.values}, **style, **self.drawing}


def first_lines(names: Iterable[str], noun: str = "lines") -> tuple[list[str], str]:
    """Return the first names that a chart has room for, each once, and the subtitle where there are more."""
    names = list(dict.fromkeys(names))
    return names[:MOST_LINES], f"the first {MOST_LINES} of {len(names)} {noun}" if len(names) > MOST_LINES else ""


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
        "scale": {"type": "log", "nice": False} if logarithmic else {"zero": False},
        "axis": {"values": sorted({row["x"] for row in rows}), "format": ",.6~r"},
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

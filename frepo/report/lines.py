"""Lines with bars of deviation as SVG, drawn by Vega-Lite without a browser."""

from typing import Any

import vl_convert
from markupsafe import Markup

WIDTH, HEIGHT = 340, 200


def lines_svg(rows: list[dict[str, Any]], title: str, x: str, y: str, *, logarithmic: bool) -> Markup:
    """Return a chart of rows with `x`, `y`, `spread` and the name of their `line`; `logarithmic` is the x axis."""
    names = sorted({row["line"] for row in rows})
    values = [{**row, "low": row["y"] - row["spread"], "high": row["y"] + row["spread"]} for row in rows]
    across = {
        "field": "x",
        "type": "quantitative",
        "title": x,
        "scale": {"type": "log"} if logarithmic else {"zero": False},
        "axis": {"tickMinStep": 1},
    }
    color = {"field": "line", "type": "nominal", "title": None, "legend": {"orient": "bottom"}}
    up = {"type": "quantitative", "title": y, "scale": {"zero": False}}
    chart = {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "description": f"{title} against {x}, for {', '.join(names)}",
        "title": {"text": title, "anchor": "start"},
        "width": WIDTH,
        "height": HEIGHT,
        "background": "white",
        "data": {"values": values},
        "layer": [
            {
                "mark": {"type": "line", "point": True, "strokeWidth": 1.5},
                "encoding": {"x": across, "y": {"field": "y", **up}, "color": color},
            },
            {
                "mark": {"type": "rule"},
                "encoding": {"x": across, "y": {"field": "low", **up}, "y2": {"field": "high"}, "color": color},
            },
        ],
    }
    return Markup(vl_convert.vegalite_to_svg(chart))  # noqa: S704 (Vega escapes text)

"""Lines with bars of deviation."""

from typing import Any

from markupsafe import Markup

from frepo.report.vega import HEIGHT, WIDTH, by_line, svg


def lines(
    rows: list[dict[str, Any]],
    title: str,
    x: str,
    y: str,
    *,
    logarithmic: bool,
    domain: tuple[float, float] | None = None,
) -> Markup:
    """Return a picture of rows with `x`, `y`, `spread` and the name of their `line`.

    `logarithmic` is the x axis; `domain` the ends of the y axis, where pictures are to be compared.
    """
    last = {row["line"]: row for row in rows}
    ends = "; ".join(f"{name} ends at {row['y']:.3g}" for name, row in last.items())
    values = [{**row, "low": row["y"] - row["spread"], "high": row["y"] + row["spread"]} for row in rows]
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
    return svg(
        title,
        f"{y} against {x}: {ends}.",
        values,
        width=WIDTH,
        height=HEIGHT,
        layer=[
            {
                "mark": {"type": "line", "point": True, "strokeWidth": 1.5},
                "encoding": {"x": across, "y": {"field": "y", **up}, **told_apart},
            },
            {
                "mark": {"type": "rule"},
                "encoding": {"x": across, "y": {"field": "low", **up}, "y2": {"field": "high"}, **told_apart},
            },
        ],
    )

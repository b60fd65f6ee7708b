"""Rows of a database as text. Commands that print a table and ask no database come without DuckDB."""

import csv
import io
import json
import math
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any, Literal, cast
from uuid import UUID

from frepo.errors import printable
from frepo.store.markup import Align, Cell, latex, markdown

Format = Literal["table", "csv", "json", "latex", "markdown"]


@dataclass(frozen=True)
class Rows:
    """A result: column names and rows."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]

    def dicts(self) -> list[dict[str, Any]]:
        """Return a dict for each row."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]


def format_rows(rows: Rows, style: Format) -> str:
    """Return rows as text: an aligned table, CSV with a header, a JSON array of objects, LaTeX, or Markdown."""
    match style:
        case "json":
            return json_text(rows.dicts())
        case "csv":
            buffer = io.StringIO()
            writer = csv.writer(buffer, lineterminator="\n")
            writer.writerow(rows.columns)
            writer.writerows(rows.rows)
            return buffer.getvalue()
        case "table":
            return _table(rows)
        case "latex":
            return latex(*_marked_up(rows))
        case "markdown":
            return markdown(*_marked_up(rows))


def json_text(value: Any) -> str:
    """Return dicts and lists of what the database holds as JSON; what JSON cannot say is null."""
    return json.dumps(_without_nan(value), indent=1, default=_json_value) + "\n"


def _table(rows: Rows) -> str:
    cells = [[printable(name) for name in rows.columns], *([_cell(value) for value in row] for row in rows.rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(rows.columns))]
    sides = _sides(rows)
    lines = [
        "  ".join(
            cell.rjust(width) if side == "r" else cell.ljust(width)
            for cell, width, side in zip(line, widths, sides, strict=True)
        ).rstrip()
        for line in cells
    ]
    rule = "  ".join("-" * width for width in widths)
    return "\n".join([lines[0], rule, *lines[1:]]) + "\n"


def _sides(rows: Rows) -> list[Align]:
    """Return on which side the text of each column stands: numbers on the right."""
    numeric = (
        bool(rows.rows) and all(isinstance(row[i], int | float | Decimal | None) for row in rows.rows)
        for i in range(len(rows.columns))
    )
    return ["r" if right else "l" for right in numeric]


def _marked_up(rows: Rows) -> tuple[list[Cell], list[list[Cell]], list[Align]]:
    header = [Cell(name) for name in rows.columns]
    return header, [[Cell(_cell(value)) for value in row] for row in rows.rows], _sides(rows)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S")
    return printable(str(value).replace("\n", "\\n"))


def _without_nan(value: Any) -> Any:
    """Return `value` with None for what JSON cannot say: NaN and the infinities."""
    if isinstance(value, dict):
        return {key: _without_nan(child) for key, child in cast("dict[Any, Any]", value).items()}
    if isinstance(value, list | tuple):
        return [_without_nan(child) for child in cast("list[Any]", value)]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _json_value(value: Any) -> Any:
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, UUID | bytes):
        return str(value)
    return repr(value)

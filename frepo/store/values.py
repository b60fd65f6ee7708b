"""What columns of the database take, so that a record that does not fit is named and the rest goes on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import duckdb

WHOLE = {"INTEGER": 31, "BIGINT": 63}
"""Bits of the largest number."""

LARGEST_FLOAT = 1.7e308
SHOWN = 40
"""Characters of a value in a message."""

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Column:
    """A column of a table."""

    kind: str
    """DuckDB's name of its type."""
    nullable: bool

    def takes(self, value: Any) -> bool:
        """Return whether it can hold a value."""
        if value is None:
            return self.nullable
        if self.kind.endswith("[]"):
            entry = Column(self.kind.removesuffix("[]"), nullable=False)
            return isinstance(value, list | tuple) and all(map(entry.takes, value))  # pyright: ignore[reportUnknownArgumentType]
        return _fits(self.kind, value)

    def take(self, values: Sequence[Any]) -> bool:
        """Return whether it can hold all of some values; of many of one type few have to be looked at."""
        kinds = set(map(type, values))
        if kinds == {str}:
            values = list(set(values))
        elif kinds == {int}:
            values = [min(values), max(values)]
        elif kinds == {float}:
            values = values[:1]
        return all(map(self.takes, values))

    def __str__(self) -> str:
        if self.kind in WHOLE:
            return f"a whole number below 2^{WHOLE[self.kind]}"
        return {"DOUBLE": "a number", "BOOLEAN": "true or false", "VARCHAR": "text"}.get(self.kind, self.kind)


def _fits(kind: str, value: Any) -> bool:
    match kind:
        case "INTEGER" | "BIGINT":
            return type(value) is int and -(2 ** WHOLE[kind]) <= value < 2 ** WHOLE[kind]
        case "DOUBLE":
            return type(value) is float or (type(value) is int and abs(value) < LARGEST_FLOAT)
        case "BOOLEAN":
            return type(value) is bool
        case "TIMESTAMP":
            return isinstance(value, datetime)
        case _:
            return isinstance(value, str) and _is_utf8(value)


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def columns(connection: duckdb.DuckDBPyConnection) -> dict[str, dict[str, Column]]:
    """Return the columns of every table by name."""
    found: dict[str, dict[str, Column]] = {}
    sql = "SELECT table_name, column_name, data_type, is_nullable FROM duckdb_columns() WHERE NOT internal"
    for table, name, kind, nullable in connection.execute(sql).fetchall():
        found.setdefault(table, {})[name] = Column(kind, nullable)
    return found


def misfit(table: Mapping[str, Column], names: Sequence[str], rows: Sequence[Row]) -> tuple[int, str] | None:
    """Return which of `rows` a table cannot take and why, or None where it takes the columns `names` of all."""
    if all(table[name].take([row.get(name) for row in rows]) for name in names):
        return None
    for number, row in enumerate(rows):
        for name in names:
            value = row.get(name)
            if not table[name].takes(value):
                text = "missing" if value is None else f"{_short(value)}, not {table[name]}"
                return number, f"`{name}` is {text}"
    return None


def _short(value: Any) -> str:
    text = ascii(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."

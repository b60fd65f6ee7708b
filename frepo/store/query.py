"""Reading the database: SQL in, rows out."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb

from frepo.errors import FrepoError
from frepo.store.connect import damage_told, reading
from frepo.store.text import Rows

AT_ONCE = 100_000
"""Rows that are fetched together."""
MOST_VALUES = 20_000_000
"""Of a result: some 2 GB in Python."""


def query(database: Path, sql: str, parameters: Sequence[Any] = ()) -> Rows:
    """Run SQL that only reads and return its rows.

    Raises:
        FrepoError: there is no database, or the SQL is wrong or would change something.
    """
    with reading(database) as connection:
        try:
            with damage_told(database):
                return _rows(connection.execute(sql, list(parameters)))
        except duckdb.Error as error:
            raise FrepoError(f"the query failed: {error}") from None


def _rows(result: Any) -> Rows:
    if result is None:
        raise FrepoError("the query is empty; write SQL such as: SELECT * FROM accuracy_table")
    columns = tuple(str(column[0]) for column in result.description or ())
    return Rows(columns, tuple(_fetched(result, max(1, len(columns)))))


def _fetched(result: Any, columns: int) -> list[tuple[Any, ...]]:
    """Return the rows of a result, within memory.

    Raises:
        FrepoError: they are too many.
    """
    found: list[tuple[Any, ...]] = []
    while part := result.fetchmany(AT_ONCE):
        found += map(tuple, part)
        if len(found) * columns > MOST_VALUES:
            raise FrepoError(f"the query gives more than {MOST_VALUES:,} values; let SQL sum them up, or LIMIT them")
    return found

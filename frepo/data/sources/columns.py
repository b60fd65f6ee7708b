"""Which columns of parquet files hold images and labels, by type and name."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import duckdb

from frepo.errors import FrepoError, near_text
from frepo.reading import NO_EXTENSIONS
from frepo.spec import Dataset

IMAGES = ("image", "img")
LABELS = ("label", "labels", "fine_label")
INTEGERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT")
ENCODED = "BLOB"
STRUCTS = ("STRUCT(bytes BLOB,", "STRUCT(path VARCHAR, bytes BLOB)")
"""Beginnings of the types of images as the Hub keeps them."""
MEMORY = "1GB"
"""That DuckDB takes at most: a file may say that it holds what fills any."""


@dataclass(frozen=True)
class Columns:
    """Where images and labels are, as DuckDB writes it."""

    image: str
    """An expression for the encoded image."""
    label: str
    class_names: tuple[str, ...] | None
    """None where the file does not name the classes."""


def connected(files: Iterable[Path]) -> duckdb.DuckDBPyConnection:
    """Return a connection that reads these files only, loads no extension and takes a bounded amount of memory."""
    connection = duckdb.connect(config={**NO_EXTENSIONS, "memory_limit": MEMORY})
    allowed = [path for file in files for path in (str(file), literal(file))]
    connection.execute("SET allowed_paths = ?", [allowed])
    connection.execute("SET temp_directory = ''")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    return connection


def quoted(name: str) -> str:
    """Return a name as SQL writes it."""
    return '"' + name.replace('"', '""') + '"'


def literal(path: Path) -> str:
    """Return a path so that DuckDB takes none of its characters for a pattern."""
    return "".join(f"[{character}]" if character in "*?[" else character for character in str(path))


def find_columns(file: Path, table: Dataset) -> Columns:
    """Return the columns of a parquet file that `table` names, or that suit by their types and names.

    Raises:
        FrepoError: none or several suit, or the file cannot be read; the message lists the columns.
    """
    try:
        with connected([file]) as connection:
            described = connection.execute("DESCRIBE SELECT * FROM read_parquet(?)", [literal(file)]).fetchall()
            kept = connection.execute(
                "SELECT value FROM parquet_kv_metadata(?) WHERE key = 'huggingface'", [literal(file)]
            ).fetchone()
    except duckdb.Error as error:
        raise unreadable([file], error) from None
    types = {str(name): str(kind) for name, kind, *_ in described}
    classes = _classes(kept[0] if kept else b"")
    images = [name for name, kind in types.items() if kind == ENCODED or kind.startswith(STRUCTS)]
    numbers = [name for name, kind in types.items() if kind in INTEGERS]
    image = _only("image_column", table.image_column, images, IMAGES, images, types, file)
    named = [name for name in numbers if name in classes]
    label = _only("label_column", table.label_column, numbers, LABELS, named, types, file)
    inside = quoted(image) if types[image] == ENCODED else f"{quoted(image)}.bytes"
    return Columns(inside, quoted(label), classes.get(label))


def _only(
    field: str,
    asked: str | None,
    suitable: list[str],
    usual: tuple[str, ...],
    alone: list[str],
    types: dict[str, str],
    file: Path,
) -> str:
    """Return the column `asked` for, else the one with a `usual` name, else the only one of `alone`."""
    if asked in suitable:
        return asked
    what = "encoded images" if field == "image_column" else "integer labels"
    there = f"{file} has {', '.join(f'{name} ({_short(kind)})' for name, kind in types.items())}"
    if asked is not None:
        problem = f"is not of {what}" if asked in types else f"is no column{near_text(asked, types)}"
        raise FrepoError(f"dataset.{field}: '{asked}' {problem}; {there}")
    by_name = [name for name in suitable if name in usual]
    found = by_name or alone
    if len(found) == 1:
        return found[0]
    problem = f"several columns may hold {what}: {', '.join(found)}" if found else f"no column clearly holds {what}"
    raise FrepoError(f"{problem}; set dataset.{field}. {there}")


def _short(kind: str) -> str:
    return kind if len(kind) <= 60 else f"{kind[:57]}..."


def _classes(metadata: bytes) -> dict[str, tuple[str, ...]]:
    """Return the names of classes by column, as the library `datasets` leaves them in a file."""
    try:
        features = cast("dict[str, Any]", json.loads(metadata)["info"]["features"])
        found = {column: feature["names"] for column, feature in features.items() if "names" in feature}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return {}
    return {column: tuple(map(str, names)) for column, names in found.items() if isinstance(names, list) and names}


def unreadable(files: Iterable[Path], error: Exception) -> FrepoError:
    """Return the error for parquet files that DuckDB refuses."""
    reason = " ".join(str(error).split())[:200]
    return FrepoError(f"{', '.join(map(str, files))} cannot be read as parquet ({reason}); get it again")

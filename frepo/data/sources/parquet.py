"""Parquet files of encoded images and labels, row by row through DuckDB and Pillow."""

import io
import itertools
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

from frepo.data.pixels import GRAY_MODES, read_header, read_pixels
from frepo.data.sources.columns import Columns, connected, find_columns, literal, unreadable
from frepo.data.sources.source import AT_ONCE, MOST_CLASSES, Examples, Source
from frepo.data.sources.splits import Chosen, choose
from frepo.data.sources.walk import one_error
from frepo.errors import FrepoError
from frepo.signals import raise_if_stopping
from frepo.spec import Dataset

NO_CLASS = -1
MOST_ROWS = 2**25
LARGEST_IMAGE = 2**28
"""Bytes of a stored image."""
USUAL_FETCH, LARGEST_FETCH = 2**27, 2**29
"""Bytes of the stored images that are fetched together, by what the files say of their size, and at most."""
ROWS = """
    FROM read_parquet(?, file_row_number=true)
    WHERE file_row_number BETWEEN ? AND ? AND file_row_number IN (SELECT unnest(?)) ORDER BY file_row_number
"""
"""Some rows of one file; the first condition is for DuckDB to pass over other parts of the file."""


def local_source(table: Dataset) -> Source:
    """Return the images of the parquet files below the folder `path` of the table.

    Raises:
        FrepoError: there are none, they cannot be read, or the table does not say which to take.
    """
    folder = Path(table.path or "").expanduser()
    if not folder.is_dir():
        raise FrepoError(f"dataset.path: {folder} is not a folder")
    found = (path.relative_to(folder) for path in folder.rglob("*.parquet") if path.is_file())
    visible = [str(path) for path in found if not any(part.startswith(".") for part in path.parts)]
    chosen = choose(visible, table, folder)
    key = [[str(folder.resolve())], [_mark(folder / path) for path in chosen.paths]]
    return parquet_source(table, folder, chosen, key)


def _mark(path: Path) -> list[str | int]:
    """Return a mark that changes when the file does."""
    status = path.stat()
    return [str(path), status.st_size, status.st_mtime_ns]


def parquet_source(table: Dataset, folder: Path, chosen: Chosen, key: Any) -> Source:
    """Return the images of the `chosen` files below `folder`; it has one channel if all of them are grey.

    `key` is JSON that changes with the files. Classes have the names that the first file gives them, else their numbers
    among the labels for training.

    Raises:
        FrepoError: a file cannot be read, or the columns of images and labels are not clear.
    """
    columns = find_columns(folder / chosen.train[0], table)
    train = Rows([folder / path for path in chosen.train], columns)
    names = columns.class_names
    numbers = None if names is not None else np.unique(train.labels[train.labels >= 0])
    if numbers is not None and len(numbers) > MOST_CLASSES:
        raise FrepoError(f"{folder}: {columns.label} has {len(numbers):,} different numbers; set dataset.label_column")
    test = None if chosen.test is None else Rows([folder / path for path in chosen.test], columns)

    def both() -> tuple[Examples, Examples | None]:
        channels = 1 if train.modes() | (test.modes() if test else set()) <= set(GRAY_MODES) else 3
        return train.examples(channels, numbers), test.examples(channels, numbers) if test else None

    class_names = tuple(map(str, () if numbers is None else numbers.tolist())) if names is None else names
    facts = [key, columns.image, columns.label, list(chosen.train), chosen.test and list(chosen.test)]
    return Source(table.name, class_names, facts, str(folder), both)


class Rows:
    """The rows of several files, one after the other."""

    def __init__(self, files: Sequence[Path], columns: Columns) -> None:
        """Count the rows of the files.

        Raises:
            FrepoError: a file cannot be read, or they have too many rows.
        """
        self._files, self._columns = files, columns
        self._connection = connected(files)
        counts = self._query("SELECT num_rows FROM parquet_file_metadata(?)", list(map(literal, self._files)))
        self._starts = [0, *itertools.accumulate(count for (count,) in counts)]
        """Number of rows before each file, and of all."""
        if self._starts[-1] > MOST_ROWS or min(self._starts) < 0:
            raise FrepoError(f"{files[0].parent} has {self._starts[-1]:,} rows; at most {MOST_ROWS:,} are read")
        sql = "SELECT sum(total_uncompressed_size)::BIGINT FROM parquet_metadata(?)"
        ((size,),) = self._query(sql, list(map(literal, self._files)))
        self._at_once = max(1, min(AT_ONCE, USUAL_FETCH * self._starts[-1] // max(1, size or 0)))

    @cached_property
    def labels(self) -> np.ndarray:
        """Labels as they are stored, int64 [n], a missing one as `NO_CLASS`.

        Raises:
            FrepoError: a file cannot be read.
        """
        sql = f"SELECT coalesce({self._columns.label}, {NO_CLASS})::BIGINT AS label FROM read_parquet(?)"  # noqa: S608
        try:
            found = self._connection.execute(sql, [list(map(literal, self._files))]).fetchnumpy()["label"]
        except duckdb.Error as error:
            raise unreadable(self._files, error) from None
        if len(found) != self._starts[-1]:
            raise unreadable(self._files, ValueError("it has not as many rows as it says"))
        return np.asarray(found, np.int64)

    def modes(self) -> set[str]:
        """Return the pixel modes of all images, from their headers.

        Raises:
            FrepoError: some are no images; the message counts them.
        """
        modes: set[str] = set()
        wrong: list[FrepoError] = []
        for start in range(0, self._starts[-1], self._at_once):
            raise_if_stopping()
            rows = list(range(start, min(start + self._at_once, self._starts[-1])))
            for row, content in zip(rows, self._fetch(rows), strict=True):
                try:
                    modes.add(read_header(self._file(content, row), self._describe(row))[0])
                except FrepoError as error:
                    wrong.append(error)
        if wrong:
            raise one_error(wrong)
        return modes

    def examples(self, channels: int, numbers: np.ndarray | None) -> Examples:
        """Return the rows as examples of so many channels.

        `numbers`, ascending, are the labels of the classes where these are not 0, 1, ...
        """
        labels = self.labels
        if numbers is not None and len(numbers):
            places = np.minimum(np.searchsorted(numbers, labels), len(numbers) - 1)
            labels = np.where(numbers[places] == labels, places, NO_CLASS)

        def decode(stored: bytes | None, row: int) -> tuple[np.ndarray, int]:
            return read_pixels(self._file(stored, row), channels, self._describe(row)), int(labels[row])

        return Examples(len(labels), self._fetch, decode, self._describe, labels, self._at_once)

    def _fetch(self, rows: list[int]) -> list[bytes | None]:
        """Return the stored images of ascending rows.

        Raises:
            FrepoError: they cannot be read, or are too large together: a file may name the same bytes for every row.
        """
        found: list[bytes | None] = []
        left = LARGEST_FETCH
        for number, file in enumerate(self._files):
            start, end = self._starts[number : number + 2]
            inside = [row - start for row in rows[bisect_left(rows, start) : bisect_left(rows, end)]]
            if inside:
                part = self._images(file, inside, left)
                left -= sum(len(content or b"") for content in part)
                found += part
        return found

    def _images(self, file: Path, rows: list[int], most: int) -> list[bytes | None]:
        """Return the stored images of some rows of one file, at most so many bytes."""
        image, found = self._columns.image, list[bytes | None]()
        sql = f"SELECT CASE WHEN octet_length({image}) > {LARGEST_IMAGE} THEN ''::BLOB ELSE {image} END {ROWS}"
        try:
            result = self._connection.execute(sql, [literal(file), rows[0], rows[-1], rows])
            while row := result.fetchone():
                found.append(row[0])
                most -= len(row[0] or b"")
                if most < 0:
                    raise FrepoError(f"{file} has images of more than {LARGEST_FETCH:,} bytes in {len(rows):,} rows")
        except duckdb.Error as error:
            raise unreadable([file], error) from None
        if len(found) != len(rows):
            raise unreadable([file], ValueError("it has not as many rows as it says"))
        return found

    def _query(self, sql: str, *arguments: Any) -> list[tuple[Any, ...]]:
        try:
            return self._connection.execute(sql, list(arguments)).fetchall()
        except duckdb.Error as error:
            raise unreadable(self._files, error) from None

    def _file(self, content: bytes | None, row: int) -> io.BytesIO:
        if content is None:
            raise FrepoError(f"{self._describe(row)} has no image in the file; get the data set with embedded images")
        return io.BytesIO(content)

    def _describe(self, row: int) -> str:
        number = bisect_right(self._starts, row) - 1
        return f"row {row - self._starts[number]} of {self._files[number]}"

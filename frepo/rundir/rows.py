"""The rows of metrics of a stage while one process appends to them."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from frepo.progress import warn
from frepo.rundir.files import rename_damaged, sha256_of_file, sync, write_atomically
from frepo.rundir.record import DamagedError, ResultFile, Row, append_rows, json_lines, read_rows

ROWS = "rows"
"""With a saved state: the digest of the rows before it."""


class MetricRows:
    """A file of rows with a running digest, so that a saved state can say which rows came before it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._digest = hashlib.sha256()
        self._damaged = False

    @property
    def digest(self) -> str:
        """SHA-256 of the rows that were kept and appended, as 64 hexadecimal digits."""
        return self._digest.hexdigest()

    def fault(self, step: int, digest: str | None) -> str | None:
        """Return what is wrong with the rows before `step`, in words; None if they have this digest.

        Where there is no digest, in states of earlier versions, they have to be readable.
        """
        try:
            found = hashlib.sha256(json_lines(self._before(step)).encode()).hexdigest()
        except DamagedError as error:
            self._damaged = True
            return f"{self._path.name} is damaged: {error.reason}"
        if digest in (None, found):
            return None
        self._damaged = True
        return f"the rows of {self._path.name} before it are not what was written"

    def begin(self, step: int) -> list[Row]:
        """Drop the rows of `step` and later, which a resumed run writes again, and return the others.

        A file in which `fault` has found one is set aside.
        """
        rows = self._before(step)
        text = json_lines(rows).encode()
        if self._damaged and self._path.exists():
            aside = rename_damaged(self._path)
            warn(f"{self._path} is damaged; set aside as {aside.name}, its rows are computed again")
        if rows or self._path.exists():
            write_atomically(self._path, text)
        self._digest = hashlib.sha256(text)
        return rows

    def append(self, rows: Iterable[Row]) -> None:
        """Write rows, which are safe from a power cut after the next `sync`."""
        rows = list(rows)
        append_rows(self._path, rows)
        self._digest.update(json_lines(rows).encode())

    def sync(self) -> None:
        """Make the rows survive a power cut."""
        sync(self._path)

    def closed(self) -> ResultFile | None:
        """Sync the rows, of which there will be no more, and return what the file holds; None where there is none."""
        if not self._path.exists():
            return None
        self.sync()
        return ResultFile(size=self._path.stat().st_size, sha256=sha256_of_file(self._path))

    def _before(self, step: int) -> list[Row]:
        if not step:
            return []
        rows = read_rows(self._path)
        if not all(type(row.get("step")) is int for row in rows):
            raise DamagedError(self._path, "a row has no step")
        return [row for row in rows if row["step"] < step]

"""The files of result rows of a stage: what of them is new since they were read last."""

import hashlib
import json
from pathlib import Path
from typing import NamedTuple

from frepo.errors import FrepoError
from frepo.plan.kinds import ROW_TABLES, RowTable
from frepo.reading import read_regular
from frepo.rundir import record
from frepo.rundir.record import ResultFile

METRIC_ROWS = RowTable("metrics", record.METRICS, ("step", "name", "value"))
TABLES = {table.name: table for table in (METRIC_ROWS, *ROW_TABLES)}
"""The tables of rows that stages leave, by name."""


LARGEST_FILE = 2**30
"""Bytes of a file of rows: those of a stage that logs every one of a million steps have a few hundred million."""


class Mark(NamedTuple):
    """How far a file has been read: a row of `ingested_files` after run, stage and file."""

    size: int = 0
    mtime_ns: int = 0
    inode: int = 0
    taken: int = 0
    """Bytes of whole lines that were read."""
    digest: str = ""
    """Of those bytes."""


class News(NamedTuple):
    """What a file has that the database has not."""

    mark: Mark | None
    """None where there is no file."""
    rows: list[record.Row]
    appended: bool
    """Whether earlier rows stay as they are; else these are all."""
    first_line: int
    """The number of the first of these rows in the file, from 1."""


def news(path: Path, known: Mark | None, written: ResultFile | None = None) -> News | None:
    """Return what is new in a file of JSON lines since it had the mark `known`, or None where nothing is.

    A last line cut off by a kill is left out. `written` is what a finished stage says of the file.

    Raises:
        FrepoError: the file is damaged, is not what was `written`, or cannot be read.
    """
    try:
        found = path.stat()
        state = Mark(found.st_size, found.st_mtime_ns, found.st_ino)
        if known is not None and state[:3] == known[:3]:
            return None
        content = read_regular(path, LARGEST_FILE)
    except FileNotFoundError:
        return None if known is None else News(None, [], appended=False, first_line=1)
    except OSError as error:
        raise FrepoError(f"{path} cannot be read: {error.strerror}") from None
    if written is not None and hashlib.sha256(content).hexdigest() != written.sha256:
        raise FrepoError(
            f"{path} is not what was written; `frepo run` with its spec sets it aside and computes it again"
        )
    whole = content[: content.rfind(b"\n") + 1]
    appended = known is not None and digest_of(whole[: known.taken]) == known.digest
    start = known.taken if known is not None and appended else 0
    mark = state._replace(taken=len(whole), digest=digest_of(whole))
    first = whole.count(b"\n", 0, start) + 1
    return News(mark, _parsed(path, whole[start:].split(b"\n")[:-1], first), appended, first)


def digest_of(content: bytes) -> str:
    """Return what tells contents apart."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def _parsed(path: Path, lines: list[bytes], first: int) -> list[record.Row]:
    try:
        rows = json.loads(b"[%s]" % b",".join(lines))
    except (ValueError, RecursionError):
        rows = None
    if rows is not None and len(rows) == len(lines) and all(isinstance(row, dict) for row in rows):
        return rows
    damaged = next((number for number, line in enumerate(lines, first) if not _is_row(line)), first)
    raise FrepoError(f"{path}, line {damaged} is damaged; `frepo run` with its spec computes it again")


def _is_row(line: bytes) -> bool:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict)

"""From what a user calls a run to its row."""

import json
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from frepo.errors import FrepoError, near_text
from frepo.store.query import query

RowDict = dict[str, Any]


@contextmanager
def as_recorded(database: Path) -> Generator[None]:
    """Say for the user that results cannot be shown, whatever the block raises: a stranger's records hold anything.

    Raises:
        FrepoError: the block has failed.
    """
    try:
        yield
    except FrepoError:
        raise
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise FrepoError(
            f"{database} holds results that frepo does not write ({reason}); name the runs to show, or remove those "
            "that came from elsewhere and make it anew with `frepo ingest`"
        ) from error


def find_runs(database: Path, names: Sequence[str]) -> list[RowDict]:
    """Return the row of the newest run of each of `names`, or of the run with that id, in the order of `names`.

    Raises:
        FrepoError: the database is not there, or does not hold one of them.
    """
    rows = _rows(database)
    found = {row["run_id"]: row for row in rows} | _newest(rows)
    for name in names:
        if name not in found:
            raise no_such_run(name, _newest(rows), database, "`frepo runs` lists them")
    return [found[name] for name in names]


def newest_runs(database: Path) -> list[RowDict]:
    """Return the row of the newest run of every name, oldest first.

    Raises:
        FrepoError: the database is not there, or holds no run.
    """
    rows = _rows(database)
    if not rows:
        raise FrepoError(f"there are no runs in {database}; `frepo run SPEC` makes one")
    newest = _newest(rows)
    return [row for row in rows if newest[row["name"]] is row]


def runs_of(database: Path, name: str, names: Sequence[str] | None = None) -> list[RowDict]:
    """Return the newest run of each name in a sweep, oldest first; where there is no such sweep, the run of that name.

    Rows have some columns of `runs`, with `swept` as a dict. There are none where there is neither sweep nor run.
    `names` are those of the runs to look at where not all are wanted, as when the file of a sweep has changed.

    Raises:
        FrepoError: the database is not there.
    """
    rows = query(database, RUNS_OF, [name]).dicts()
    rows = [{**row, "swept": json.loads(row["swept"])} for row in rows if names is None or row["name"] in names]
    return [row for row in rows if row["sweep"] == name] or rows[-1:]


RUNS_OF = """SELECT run_id, name, sweep, swept, seed, status, created_at FROM runs WHERE sweep = $1 OR name = $1
    QUALIFY row_number() OVER (PARTITION BY sweep, name ORDER BY created_at DESC, run_id) = 1
    ORDER BY created_at, name, run_id DESC"""


def no_such_run(name: str, known: Iterable[str], place: Path, advice: str) -> FrepoError:
    """Return the error that says that no run in `place` has this name, with the one of `known` that is near it."""
    return FrepoError(f"there is no run `{name}` in {place}{near_text(name, known) or ';'} {advice}")


def _rows(database: Path) -> list[RowDict]:
    return query(database, "SELECT * FROM runs ORDER BY created_at, run_id DESC").dicts()


def _newest(rows: list[RowDict]) -> dict[str, RowDict]:
    return {row["name"]: row for row in rows}

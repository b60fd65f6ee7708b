"""From what a user calls a run to its row."""

import difflib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from frepo.errors import FrepoError
from frepo.store.query import query

RowDict = dict[str, Any]


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


def no_such_run(name: str, known: Iterable[str], place: Path, advice: str) -> FrepoError:
    """Return the error that says that no run in `place` has this name, with the one of `known` that is near it."""
    return FrepoError(f"there is no run `{name}` in {place}{near_text(name, known) or ';'} {advice}")


def near_text(name: str, known: Iterable[str]) -> str:
    """Return the question whether the one of `known` that is near `name` is meant, or nothing."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.4)
    return f", did you mean `{near[0]}`?" if near else ""


def _rows(database: Path) -> list[RowDict]:
    return query(database, "SELECT * FROM runs ORDER BY created_at, run_id DESC").dicts()


def _newest(rows: list[RowDict]) -> dict[str, RowDict]:
    return {row["name"]: row for row in rows}

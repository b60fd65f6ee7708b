"""From run directories into the database, as often as one likes."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import duckdb

from frepo.errors import FrepoError
from frepo.progress import warn
from frepo.store.connect import (
    DamagedDatabaseError,
    OlderDatabaseError,
    atomically,
    damage_told,
    first_line,
    read_all,
    writing,
)
from frepo.store.name import OfName, insert, remove
from frepo.store.rebuild import rebuild, set_damaged_aside
from frepo.store.rows import Mark, digest_of
from frepo.store.values import columns

PUBLISHED = "published.csv"


@dataclass(frozen=True)
class Ingested:
    """What came of it."""

    runs: int
    """Runs that are in the database now, of those that were looked at."""
    problems: tuple[str, ...] = ()
    """What could not be taken, and why; the rest was."""


def ingest(
    database: Path,
    runs_dir: Path,
    names: Sequence[str] | None = None,
    *,
    patience: float | None = None,
    whole: bool = True,
) -> Ingested:
    """Bring the runs of the given names, or all, in the database up to what is on disk; twice changes nothing.

    Only what has changed is read. Runs of `runs_dir` that are gone from it go from the database too. A database of an
    older frepo is rebuilt from all runs, and so is one that is damaged, which is set aside with a warning. Each name is
    one transaction: a reader sees its runs before or after, and a kill leaves them as they were. `patience` is how many
    seconds to wait for others that have the database open. With `whole`, all of the database is read to find damage;
    otherwise damage is found where it is met.

    Raises:
        DatabaseBusyError: others kept the database open for longer.
        FrepoError: the database is not ours or cannot be written.
    """
    try:
        try:
            return _once(database, runs_dir, names, patience, whole=whole)
        except DamagedDatabaseError as error:
            aside = set_damaged_aside(database, patience)
            if aside:
                warn(
                    f"the database {database} is damaged ({error.reason}); set aside as {aside.name} and rebuilt from "
                    f"the runs in {runs_dir}: `frepo ingest --runs-dir OTHER` adds those of other directories"
                )
            return _once(database, runs_dir, None, patience, whole=False)
    except duckdb.Error as error:
        raise FrepoError(
            f"the database {database} cannot be written: {first_line(error)}; results are safe in the run "
            "directories, `frepo ingest` adds them later"
        ) from None


def _once(
    database: Path, runs_dir: Path, names: Sequence[str] | None, patience: float | None, *, whole: bool
) -> Ingested:
    try:
        with writing(database, patience) as connection:
            if whole:
                read_all(connection)
            return _bring_up(connection, runs_dir, names)
    except OlderDatabaseError:
        with damage_told(database):
            return _rebuilt(database, runs_dir, patience)


def _rebuilt(database: Path, runs_dir: Path, patience: float | None) -> Ingested:
    found: list[Ingested] = []

    def fill(connection: duckdb.DuckDBPyConnection, directory: Path) -> None:
        found.append(_bring_up(connection, directory, None))

    lost = rebuild(database, runs_dir, fill, patience)
    problems = [problem for each in found for problem in each.problems]
    if lost:
        problems.append(
            f"not found when the older database was rebuilt: {', '.join(lost)}; where they are in other directories of "
            "runs, `frepo ingest --runs-dir OTHER` adds them"
        )
    return Ingested(sum(each.runs for each in found), tuple(problems))


def _bring_up(connection: duckdb.DuckDBPyConnection, runs_dir: Path, names: Sequence[str] | None) -> Ingested:
    marks = _marks(connection, names)
    with atomically(connection):
        _bring_up_published(connection, marks)
    origin, kinds = str(runs_dir.resolve()), columns(connection)
    directories = {
        path.name: path
        for path in sorted(runs_dir.glob("*"))
        if (names is None or path.name in names) and path.is_dir() and not path.name.startswith(".")
    }
    count, problems = 0, list[str]()
    for name, directory in directories.items():
        of_name = OfName(directory, origin, kinds, marks.get(name, {}))
        try:
            count += of_name.bring_up(connection)
            problems += of_name.problems
        except (duckdb.DataError, duckdb.IntegrityError, duckdb.ProgrammingError) as error:
            problems.append(f"{ascii(str(directory))[1:-1]} is left out of the database: {first_line(error)}")
    known = connection.execute("SELECT DISTINCT name FROM runs WHERE runs_dir = ?", [origin]).fetchall()
    for (name,) in known:
        if name not in directories and (names is None or name in names):
            with atomically(connection):
                remove(connection, name)
    return Ingested(count, tuple(problems))


def _marks(
    connection: duckdb.DuckDBPyConnection, names: Sequence[str] | None
) -> dict[str, dict[tuple[str, str], Mark]]:
    """Return how far the files of each name have been read, by stage and file."""
    sql = f"SELECT run, stage, file, {', '.join(Mark._fields)} FROM ingested_files WHERE ? OR list_contains(?, run)"  # noqa: S608
    rows = connection.execute(sql, [names is None, ["", *(names or ())]]).fetchall()
    found: dict[str, dict[tuple[str, str], Mark]] = {}
    for run, stage, file, *mark in rows:
        found.setdefault(run, {})[stage, file] = Mark(*mark)
    return found


def _bring_up_published(connection: duckdb.DuckDBPyConnection, marks: dict[str, dict[tuple[str, str], Mark]]) -> None:
    """Bring the numbers of the literature up to those that this version comes with."""
    content = files("frepo.store").joinpath(PUBLISHED).read_bytes()
    mark = Mark(digest=digest_of(content))
    if marks.get("", {}).get(("", PUBLISHED)) == mark:
        return
    rows = [{key: value or None for key, value in row.items()} for row in csv.DictReader(content.decode().splitlines())]
    connection.execute("DELETE FROM published")
    insert(connection, "published", rows)
    connection.execute("DELETE FROM ingested_files WHERE run = ''")
    insert(connection, "ingested_files", [{"run": "", "stage": "", "file": PUBLISHED, **mark._asdict()}])

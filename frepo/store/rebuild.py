"""A database that is made anew from run directories: of an older frepo, or damaged. The old file is never lost."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import duckdb

from frepo.rundir import lease
from frepo.rundir.files import rename_damaged, sync
from frepo.store.connect import (
    PATIENCE_SECONDS,
    SCHEMA_VERSION,
    DamagedDatabaseError,
    DatabaseBusyError,
    damage_told,
    held,
    read_all,
    schema_version,
    writing,
)

Fill = Callable[[duckdb.DuckDBPyConnection, Path], None]


def rebuild(database: Path, runs_dir: Path, fill: Fill, patience: float | None) -> list[str]:
    """Rebuild `database` by `fill`, called with each directory of runs, and return the names that it lost.

    The directories are `runs_dir` and those that the old one says its runs are in. It is held against other processes
    until the new one has taken its place.

    Raises:
        DatabaseBusyError: others kept it open for longer than `patience`.
        FrepoError, duckdb.Error: the new one cannot be written; the old one is as it was.
    """
    database = database.resolve()
    with held(database, patience) as old:
        if schema_version(old) == SCHEMA_VERSION:  # another process was faster
            fill(old, runs_dir)
            return []
        old.execute("CHECKPOINT")  # so that no log of changes is left for the new file to be mistaken for its own
        new = database.with_name(f".{database.name}.new")
        _remove(new)
        try:
            with writing(new) as connection:
                for directory in _directories(old, runs_dir):
                    fill(connection, directory)
                lost = sorted(_names(old) - _names(connection))
            shutil.copymode(database, new)
            sync(new)
            os.replace(new, database)  # noqa: PTH105
        except BaseException:
            _remove(new)
            raise
        sync(database.parent)
        return lost


def set_damaged_aside(database: Path, patience: float | None) -> Path | None:
    """Rename a damaged database, with its log of changes, and return its new path; None where another process has.

    Raises:
        DatabaseBusyError: another process is about to, or has it open.
        OSError: the directory cannot be written.
    """
    database = database.resolve()
    try:
        with lease.held(database.parent, PATIENCE_SECONDS if patience is None else patience):
            return _renamed(database) if _is_damaged(database, patience) else None
    except lease.BusyError:
        raise DatabaseBusyError(f"the database {database} is damaged, and another process sets it aside") from None


def _is_damaged(database: Path, patience: float | None) -> bool:
    try:
        with held(database, patience) as connection, damage_told(database):
            read_all(connection)
    except DamagedDatabaseError:
        return True
    return False


def _renamed(database: Path) -> Path:
    log = database.with_name(f"{database.name}.wal")
    if log.exists():  # first: a new database must not find the log of another
        rename_damaged(log)
    return rename_damaged(database)


def _directories(old: duckdb.DuckDBPyConnection, runs_dir: Path) -> list[Path]:
    """Return the directories of runs that the old database has seen and that are there; the given one is the last."""
    try:
        rows = old.execute("SELECT DISTINCT runs_dir FROM runs ORDER BY runs_dir").fetchall()
    except duckdb.Error:  # it did not say
        rows = []
    others = [Path(path) for (path,) in rows if isinstance(path, str)]
    return [*(path for path in others if path.is_dir() and path != runs_dir.resolve()), runs_dir]


def _names(connection: duckdb.DuckDBPyConnection) -> set[str]:
    try:
        rows = connection.execute("SELECT DISTINCT name FROM runs").fetchall()
        return {name for (name,) in rows if isinstance(name, str)}
    except duckdb.Error:
        return set()


def _remove(new: Path) -> None:
    for path in (new, new.with_name(f"{new.name}.wal")):
        path.unlink(missing_ok=True)

"""Opening the results database for one short use.

DuckDB locks the file while a process has it open for writing, against readers too, so nobody holds it open: connect,
one transaction, close; whoever finds it taken waits a little and tries again.
"""

import random
import time
from collections.abc import Generator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir

import duckdb

from frepo.errors import FrepoError
from frepo.runtime import DEFAULT_DATABASE

SCHEMA_VERSION = 4
PATIENCE_SECONDS = 60.0

FOREIGN_OBJECTS = """
SELECT (SELECT count(*) FROM duckdb_tables())
    + (SELECT count(*) FROM duckdb_views() WHERE NOT internal)
    + (SELECT count(*) FROM duckdb_sequences())
    + (SELECT count(*) FROM duckdb_types() WHERE NOT internal)
    + (SELECT count(*) FROM duckdb_schemas() WHERE NOT internal AND schema_name <> 'main')
"""


class DatabaseBusyError(FrepoError):
    """Other processes kept the database open for longer than we wait."""


@contextmanager
def transaction(database: Path) -> Generator[duckdb.DuckDBPyConnection]:
    """Yield a connection inside one transaction, committed when the block ends without an error.

    The file and the schema are made where they do not exist.

    Raises:
        FrepoError: the file is no database of ours, was written by a newer frepo, or cannot be written.
    """
    with _connection(database, read_only=False) as connection:
        connection.begin()
        try:
            _ensure_schema(connection, database)
            yield connection
        except BaseException:
            connection.rollback()
            raise
        connection.commit()


@contextmanager
def reading(database: Path) -> Generator[duckdb.DuckDBPyConnection]:
    """Yield a read-only connection that reaches nothing but the database: no files, no network, no extensions.

    Raises:
        FrepoError: there is no database, or it is not one of ours, or of a newer frepo.
    """
    with _ours(database) as connection:
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")
        yield connection


def connect(database: Path | str = DEFAULT_DATABASE) -> duckdb.DuckDBPyConnection:
    """Return a read-only connection to a copy of the results as they are now; call again for newer ones.

    It can be kept open for as long as one likes, in a notebook too: it holds no lock, so runs go on writing. SQL may
    read and write other files (`COPY ... TO`), make temporary tables, and use data frames of the caller by name; it
    cannot change results. The copy takes the disk space of the database until the connection is closed.

    Raises:
        FrepoError: there is no database, or it is not one of ours, or of another version of frepo.
    """
    database = Path(database)
    with TemporaryDirectory(prefix="frepo-") as directory:
        copy = Path(directory) / "results.duckdb"
        with _ours(database) as connection:
            try:
                _copy(connection, copy)
            except duckdb.Error as error:
                raise FrepoError(f"the database {database} cannot be copied: {_first_line(error)}") from None
        # The file is open from here on: its name is no longer needed, and goes with the directory.
        return duckdb.connect(str(copy), read_only=True, config={"temp_directory": gettempdir()})


def _copy(connection: duckdb.DuckDBPyConnection, to: Path) -> None:
    """Copy the database of a connection, whose name is that of its file, to a new file."""
    row = connection.execute("SELECT current_database()").fetchone()
    name = str(row[0] if row else "").replace('"', '""')
    connection.execute(f'ATTACH ? AS "{name} copy" (READ_WRITE)', [str(to)])
    connection.execute(f'COPY FROM DATABASE "{name}" TO "{name} copy"')
    connection.execute(f'DETACH "{name} copy"')


@contextmanager
def _ours(database: Path) -> Generator[duckdb.DuckDBPyConnection]:
    if not database.exists():
        raise FrepoError(
            f"there is no database {database}; `frepo run SPEC` makes one, "
            "`frepo ingest` rebuilds it from run directories"
        )
    with _connection(database, read_only=True) as connection:
        _check_version(connection, database)
        yield connection


@contextmanager
def _connection(database: Path, *, read_only: bool) -> Generator[duckdb.DuckDBPyConnection]:
    connection = _open(database, read_only=read_only)
    try:
        yield connection
    finally:
        connection.close()


def _open(database: Path, *, read_only: bool) -> duckdb.DuckDBPyConnection:
    deadline = time.monotonic() + PATIENCE_SECONDS
    pause = 0.01
    while True:
        try:
            return duckdb.connect(str(database), read_only=read_only)
        except duckdb.Error as error:
            if "Could not set lock on file" not in str(error):
                raise FrepoError(f"the database {database} cannot be opened: {_first_line(error)}") from None
            if time.monotonic() > deadline:
                raise DatabaseBusyError(
                    f"the database {database} stayed locked by another process for {PATIENCE_SECONDS:.0f} s; "
                    "results are safe in the run directories, `frepo ingest` adds them later"
                ) from None
        time.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 (jitter)
        pause = min(pause * 1.5, 0.5)


def _ensure_schema(connection: duckdb.DuckDBPyConnection, database: Path) -> None:
    if _has_schema(connection):
        _check_version(connection, database)
        return
    foreign = connection.execute(FOREIGN_OBJECTS).fetchone()
    if foreign and foreign[0]:
        raise FrepoError(f"{database} is a DuckDB database of another program; name another with --db")
    connection.execute(files("frepo.store").joinpath("schema.sql").read_text(encoding="utf-8"))
    connection.execute("INSERT INTO frepo_schema VALUES (?)", [SCHEMA_VERSION])


def _check_version(connection: duckdb.DuckDBPyConnection, database: Path) -> None:
    if not _has_schema(connection):
        raise FrepoError(f"{database} is a DuckDB database of another program; name another with --db")
    row = connection.execute("SELECT max(version) FROM frepo_schema").fetchone()
    version = row[0] if row else None
    if version != SCHEMA_VERSION:
        advice = (
            "update frepo, or name another with --db"
            if version and version > SCHEMA_VERSION
            else "move it away and run `frepo ingest`: it rebuilds the database from the run directories"
        )
        raise FrepoError(f"{database} has schema {version}, this frepo reads schema {SCHEMA_VERSION}: {advice}")


def _has_schema(connection: duckdb.DuckDBPyConnection) -> bool:
    found = connection.execute("SELECT count(*) FROM duckdb_tables() WHERE table_name = 'frepo_schema'").fetchone()
    return bool(found and found[0])


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]

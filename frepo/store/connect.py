"""Opening the results database for one short use.

DuckDB locks the file while a process has it open for writing, against readers too, so nobody holds it open: connect,
one transaction, close; whoever finds it taken waits for its turn and tries again.
"""

import fcntl
import os
import random
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir

import duckdb

from frepo.errors import FrepoError
from frepo.reading import NO_EXTENSIONS
from frepo.runtime import DEFAULT_DATABASE
from frepo.signals import interruptible

SCHEMA_VERSION = 8
PATIENCE_SECONDS = 60.0
PAUSE_SECONDS = 0.02
"""Between two attempts to open the file: each takes milliseconds of a processor."""
LONGEST_PAUSE_SECONDS = 0.1
"""Between two looks whether it is one's turn, at first."""

MEMORY = "4GB"
"""That a query takes at most."""

MAGIC = slice(8, 12), b"DUCK"
"""Where a DuckDB file says what it is."""

SUFFIX = ".duckdb"
"""A file of this name that is neither a database nor text was one."""

DAMAGE = (
    "Corrupt database file",
    "not a valid DuckDB database",
    "Could not read enough bytes",
    "Failure while replaying WAL",
)
"""What DuckDB says of files whose bytes are not those that it wrote: each block and each change has a checksum."""

FOREIGN_OBJECTS = """
SELECT (SELECT count(*) FROM duckdb_tables())
    + (SELECT count(*) FROM duckdb_views() WHERE NOT internal)
    + (SELECT count(*) FROM duckdb_sequences())
    + (SELECT count(*) FROM duckdb_types() WHERE NOT internal)
    + (SELECT count(*) FROM duckdb_schemas() WHERE NOT internal AND schema_name <> 'main')
"""


class DatabaseBusyError(FrepoError):
    """Other processes kept the database open for longer than we wait."""


class OlderDatabaseError(FrepoError):
    """The database was written by an older frepo."""


class DamagedDatabaseError(FrepoError):
    """The file is no longer what DuckDB has written; nothing else uses its name."""

    def __init__(self, database: Path, reason: str) -> None:
        super().__init__(
            f"the database {database} is damaged ({reason}); `frepo ingest` sets it aside and rebuilds it from the run "
            "directories"
        )
        self.reason = reason


@contextmanager
def writing(database: Path, patience: float | None = None) -> Generator[duckdb.DuckDBPyConnection]:
    """Yield a connection that writes; the file and the schema are made where they do not exist.

    `patience` is how many seconds to wait for other processes that have the file open.

    Raises:
        DatabaseBusyError: they kept it open for longer.
        OlderDatabaseError: the file is of an older frepo.
        FrepoError: the file is no database of ours, was written by a newer frepo, or cannot be written.
    """
    with held(database, patience) as connection, damage_told(database):
        with atomically(connection):
            _ensure_schema(connection, database)
        yield connection


@contextmanager
def atomically(connection: duckdb.DuckDBPyConnection) -> Generator[None]:
    """Put the block in one transaction, committed when it ends without an error."""
    connection.begin()
    try:
        yield
    except BaseException:
        with suppress(duckdb.Error):  # after a full disk there is nothing left to roll back
            connection.rollback()
        raise
    connection.commit()


@contextmanager
def held(database: Path, patience: float | None = None) -> Generator[duckdb.DuckDBPyConnection]:
    """Yield a connection that keeps every other process from the file, whatever its schema.

    Raises:
        DatabaseBusyError: others kept it open for longer than `patience`.
        FrepoError: it cannot be opened.
    """
    with _connection(database, read_only=False, patience=patience) as connection:
        connection.execute("SET enable_external_access = false")
        yield connection


@contextmanager
def damage_told(database: Path) -> Generator[None]:
    """Say of an error in the block that the database is damaged, where that is the reason.

    Raises:
        DamagedDatabaseError: it is.
    """
    try:
        yield
    except duckdb.Error as error:
        if any(sign in str(error) for sign in DAMAGE):
            raise DamagedDatabaseError(database, first_line(error)) from None
        raise


def read_all(connection: duckdb.DuckDBPyConnection) -> None:
    """Read every row once, which is how DuckDB notices damage.

    Raises:
        duckdb.Error: there is some.
    """
    for (table,) in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall():
        connection.execute(f'SELECT max(hash(t)) FROM "{table}" t').fetchall()  # noqa: S608 (names of ours)


@contextmanager
def reading(database: Path) -> Generator[duckdb.DuckDBPyConnection]:
    """Yield a read-only connection that reaches nothing but the database: no files, no network, no extensions.

    Raises:
        FrepoError: there is no database, or it is not one of ours, or of another version of frepo.
    """
    with _ours(database) as connection:
        connection.execute(f"SET memory_limit = '{MEMORY}'")
        connection.execute("SET temp_directory = ''")  # where else it writes what does not fit into memory
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
                raise FrepoError(f"the database {database} cannot be copied: {first_line(error)}") from None
        # The file is open from here on: its name is no longer needed, and goes with the directory.
        return duckdb.connect(str(copy), read_only=True, config={**NO_EXTENSIONS, "temp_directory": gettempdir()})


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
def _connection(
    database: Path, *, read_only: bool, patience: float | None = None
) -> Generator[duckdb.DuckDBPyConnection]:
    connection = _open(database, PATIENCE_SECONDS if patience is None else patience, read_only=read_only)
    try:
        with interruptible(connection.interrupt):
            yield connection
    finally:
        connection.close()


def _open(database: Path, patience: float, *, read_only: bool) -> duckdb.DuckDBPyConnection:
    _refuse_other_files(database)
    deadline = time.monotonic() + patience
    with _turn(database.absolute().parent, deadline) as is_mine:
        while is_mine:
            try:
                with damage_told(database):
                    return _connect(database, read_only=read_only)
            except duckdb.Error as error:
                if "Could not set lock on file" not in str(error):
                    raise FrepoError(f"the database {database} cannot be opened: {first_line(error)}") from None
            if time.monotonic() >= deadline:
                break
            time.sleep(PAUSE_SECONDS * random.uniform(0.5, 1.5))  # noqa: S311 (jitter)
    raise DatabaseBusyError(
        f"the database {database} stayed locked by another process for {patience:.0f} s; "
        "results are safe in the run directories, `frepo ingest` adds them later"
    )


@contextmanager
def _turn(directory: Path, deadline: float) -> Generator[bool]:
    """Wait until no other process waits to open a database in `directory`; yield whether that is so in time.

    One at a time tries to open the file. Who waits the longest looks the most often whether it is next: without this, a
    process that has just closed the file opens it again before the others wake up, and some of them wait for ever.
    """
    began = time.monotonic()
    try:
        handle = os.open(directory, os.O_RDONLY)
    except OSError:  # DuckDB says what is wrong
        yield True
        return
    try:
        while not _locked(handle):
            now = time.monotonic()
            if now >= deadline:
                yield False
                return
            time.sleep(LONGEST_PAUSE_SECONDS / (1 + now - began) * random.uniform(0.5, 1.5))  # noqa: S311 (jitter)
        yield True
    finally:
        os.close(handle)


def _locked(handle: int) -> bool:
    """Return whether an open directory is locked for this process now, or its file system has no locks."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def _connect(database: Path, *, read_only: bool) -> duckdb.DuckDBPyConnection:
    name = str(database.absolute())  # a bare md:x or :memory: DuckDB takes for something else than a file
    try:
        return duckdb.connect(name, read_only=read_only, config=NO_EXTENSIONS)
    except duckdb.ConnectionException:  # this process, a notebook, has it open by itself, with DuckDB's own settings
        return duckdb.connect(name, read_only=read_only)


def _refuse_other_files(database: Path) -> None:
    """Refuse a file of another program, which DuckDB may know how to open: with an extension that it would fetch."""
    start = b""
    with suppress(OSError):  # DuckDB says what is wrong
        if database.is_file():
            with database.open("rb") as file:
                start = file.read(4096)
        elif database.is_dir() and database.suffix == SUFFIX:
            raise DamagedDatabaseError(database, "it is a directory")
    place, magic = MAGIC
    if not start or start[place] == magic:
        return
    if database.suffix == SUFFIX and not start.startswith(b"SQLite") and not _is_text(start):
        raise DamagedDatabaseError(database, "it is not a valid DuckDB database")
    kind = "an SQLite database, not one of DuckDB" if start.startswith(b"SQLite") else "not a valid DuckDB database"
    raise FrepoError(f"the database {database} cannot be opened: it is {kind}; name another with --db")


def _is_text(start: bytes) -> bool:
    """Return whether the start of a file may be something that somebody has written."""
    return b"\0" not in start and len(start.decode("utf-8", "ignore").encode()) > len(start) - 4


def _ensure_schema(connection: duckdb.DuckDBPyConnection, database: Path) -> None:
    if _has_schema(connection):
        _check_version(connection, database)
        return
    foreign = connection.execute(FOREIGN_OBJECTS).fetchone()
    if foreign and foreign[0]:
        raise FrepoError(f"{database} is a DuckDB database of another program; name another with --db")
    connection.execute(files("frepo.store").joinpath("schema.sql").read_text(encoding="utf-8"))
    connection.execute("INSERT INTO frepo_schema VALUES (?)", [SCHEMA_VERSION])
    _fill_student(connection)


def _fill_student(connection: duckdb.DuckDBPyConnection) -> None:
    # A file of what `student_quantile` returns: every new database needs them, and SciPy takes long to import.
    quantiles = [float(line) for line in files("frepo.store").joinpath("student.txt").read_text("ascii").split()]
    degrees = range(1, len(quantiles) + 1)
    connection.execute("INSERT INTO student SELECT unnest(?), unnest(?)", [[*degrees], quantiles])


def student_quantile(degrees: float) -> float:
    """Return the 97.5% quantile of Student's distribution, by degrees of freedom."""
    from scipy.special import stdtrit  # pyright: ignore[reportMissingTypeStubs, reportUnknownVariableType]

    return float(stdtrit(degrees, 0.975))


def _check_version(connection: duckdb.DuckDBPyConnection, database: Path) -> None:
    if not _has_schema(connection):
        raise FrepoError(f"{database} is a DuckDB database of another program; name another with --db")
    version = schema_version(connection)
    if version == SCHEMA_VERSION:
        return
    which = f"{database} has schema {version}, this frepo reads schema {SCHEMA_VERSION}"
    if version > SCHEMA_VERSION:
        raise FrepoError(f"{which}: update frepo, or name another with --db")
    raise OlderDatabaseError(f"{which}: `frepo ingest` rebuilds it from the run directories")


def schema_version(connection: duckdb.DuckDBPyConnection) -> int:
    """Return the schema of a database of ours, 0 where it does not say."""
    row = connection.execute("SELECT coalesce(max(version), 0) FROM frepo_schema").fetchone()
    return row[0] if row else 0


def _has_schema(connection: duckdb.DuckDBPyConnection) -> bool:
    found = connection.execute("SELECT count(*) FROM duckdb_tables() WHERE table_name = 'frepo_schema'").fetchone()
    return bool(found and found[0])


def first_line(error: Exception) -> str:
    """Return the first line of what DuckDB says."""
    return str(error).strip().splitlines()[0]

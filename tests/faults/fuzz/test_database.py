"""Databases and SQL of strangers: nothing but the database is read, nothing is written, nothing is loaded."""

import itertools

import duckdb
import pytest
from hostile_inputs import damaged
from hypothesis import strategies as st

from frepo.errors import FrepoError
from frepo.store.ingest import ingest
from frepo.store.query import query
from frepo.store.text import format_rows

SECRET = "the secret of another file"


@pytest.fixture(scope="module")
def place(fake_runs_in, tmp_path_factory):
    """Return a directory with runs, their database, and files that are none of its business."""
    place = tmp_path_factory.mktemp("place")
    fake_runs_in(place / "runs")("small")
    ingest(place / "results.duckdb", place / "runs")
    (place / "secret.csv").write_text(f"a\n{SECRET}\n")
    (place / "secret.json").write_text(f'{{"a": "{SECRET}"}}')
    with duckdb.connect(str(place / "secret.duckdb")) as connection:
        connection.execute(f"CREATE TABLE t AS SELECT '{SECRET}' AS a")
        connection.execute(f"COPY t TO '{place}/secret.parquet'")
    return place


def contents(place):
    return {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}


FUNCTIONS = (
    *(
        "read_csv",
        "read_csv_auto",
        "read_text",
        "read_blob",
        "read_json",
        "read_json_auto",
        "read_ndjson",
        "read_parquet",
    ),
    *(
        "parquet_scan",
        "parquet_metadata",
        "parquet_schema",
        "parquet_kv_metadata",
        "parquet_file_metadata",
        "sniff_csv",
    ),
    *("glob", "read_duckdb", "read_json_objects", "sqlite_scan", "postgres_scan", "read_xlsx", "st_read", "read_avro"),
    *("iceberg_scan", "delta_scan", "read_vortex"),
)
STATEMENTS = (
    *("COPY (SELECT 1) TO '{out}'", "COPY runs TO '{out}' (FORMAT parquet)", "COPY runs FROM '{path}'"),
    *(
        "EXPORT DATABASE '{out}'",
        "IMPORT DATABASE '{path}'",
        "ATTACH '{path}' AS x",
        "ATTACH '{out}' AS x",
        "ATTACH ''",
    ),
    *(
        "ATTACH '{path}' AS x (TYPE sqlite)",
        "DETACH results",
        "USE memory",
        "INSTALL httpfs",
        "LOAD httpfs",
        "LOAD '{path}'",
    ),
    *(
        "INSTALL httpfs FROM 'http://127.0.0.1:9'",
        "FORCE INSTALL spatial",
        "UPDATE EXTENSIONS",
        "CREATE SECRET (TYPE s3)",
    ),
    *("CREATE PERSISTENT SECRET s (TYPE http)", "SELECT * FROM duckdb_secrets()", "SELECT getenv('HOME')"),
    *("SET temp_directory = '{out}'", "SET home_directory = '{out}'", "SET log_query_path = '{out}'"),
    *("SET extension_directory = '{out}'", "SET secret_directory = '{out}'", "SET allowed_directories = ['/']"),
    *("SET enable_external_access = true", "SET lock_configuration = false", "RESET enable_external_access"),
    *(
        "SET memory_limit = '1TB'",
        "SET threads = 1",
        "PRAGMA profile_output = '{out}'",
        "PRAGMA enable_profiling = 'json'",
    ),
    *("PRAGMA import_database('{path}')", "CALL enable_logging(storage = 'file', storage_path = '{out}')"),
    *(
        "CALL enable_profiling(save_location = '{out}')",
        "SET custom_profiling_settings = '{{}}'",
        "PREPARE x AS SELECT 1",
    ),
    *("CREATE TABLE t AS SELECT 1", "CREATE TEMP TABLE t AS SELECT 1", "DROP TABLE runs", "DELETE FROM runs", "VACUUM"),
    *("UPDATE runs SET seed = 1", "CREATE MACRO f(x) AS x", "CREATE VIEW v AS SELECT * FROM '{path}'", "CHECKPOINT"),
    *("FORCE CHECKPOINT", "SELECT * FROM '{path}'", "FROM '{path}'", "SELECT * FROM '{path}*'", "DESCRIBE '{path}'"),
    *(
        "SUMMARIZE '{path}'",
        "SELECT * FROM query('FROM ''{path}''')",
        "SELECT * FROM query_table('{path}')",
        "SHOW ALL TABLES",
    ),
    *("SELECT * FROM database", "SELECT * FROM sql", "SELECT * FROM connection", "SELECT * FROM 's3://a/b.parquet'"),
    *(
        "SELECT * FROM 'https://127.0.0.1:9/x.csv'",
        "SELECT * FROM 'md:x'",
        "EXECUTE x",
        "EXPLAIN ANALYZE COPY runs TO '{out}'",
    ),
    *(
        "SELECT * FROM pragma_database_list",
        "SELECT write_log('{out}')",
        "CALL dbgen(sf = 1)",
        "CREATE TYPE t AS ENUM ('{path}')",
    ),
)


@st.composite
def sql(draw, place):
    """Draw statements of any kind about a file that is there, or one that is to come."""
    path = draw(st.sampled_from(sorted(place.glob("secret.*"))))
    read = [f"SELECT * FROM {function}('{path}')" for function in FUNCTIONS]
    read += [f"SELECT * FROM {function}(['{path}'])" for function in FUNCTIONS[:8]]
    filled = [text.format(path=path, out=place / "out") for text in STATEMENTS]
    return "; ".join(draw(st.lists(st.sampled_from(read + filled), min_size=1, max_size=3)))


def must_be_harmless(place, text):
    before = contents(place)
    try:
        found = format_rows(query(place / "results.duckdb", text), "csv")
    except FrepoError as error:
        found = str(error)
    assert SECRET not in found
    assert contents(place) == before
    return found


def test_sql_reads_and_writes_nothing_but_the_database(place, try_all):
    try_all(sql(place), lambda text: must_be_harmless(place, text), examples=200)


def test_every_statement_and_function_by_itself(place):
    paths = sorted(place.glob("secret.*"))
    for function, path in itertools.product(FUNCTIONS, paths):
        must_be_harmless(place, f"SELECT * FROM {function}('{path}')")
    for text in STATEMENTS:
        must_be_harmless(place, text.format(path=paths[0], out=place / "out"))


def test_a_result_is_bounded(place):
    with pytest.raises(FrepoError, match="gives more than"):
        query(place / "results.duckdb", f"SELECT {', '.join(['i'] * 100)} FROM range(10000000) t(i)")


@pytest.mark.parametrize("text", ["SELECT repeat('x', 8000000000)", "SELECT list(i) FROM range(4000000000) t(i)"])
def test_a_query_that_takes_all_memory_is_refused_and_spills_nothing(place, text, long):
    if not long:
        pytest.skip("takes long; set FREPO_TEST_LONG=1")
    assert "the query failed" in must_be_harmless(place, text)


def test_what_a_query_shows_does_not_move_the_cursor(place):
    shown = format_rows(
        query(place / "results.duckdb", "SELECT chr(27) || '[2J' AS \"a\x1b[2J\", chr(8) AS b"), "table"
    )
    assert "\x1b" not in shown
    assert "\x08" not in shown
    assert "\\x1b[2J" in shown


CHANGES = (
    *(
        "DROP TABLE metrics",
        "DROP TABLE runs",
        "DROP VIEW accuracy_table",
        "UPDATE runs SET spec = '['",
        "DROP TABLE frepo_schema",
    ),
    *(
        "UPDATE runs SET spec = 'null'",
        "UPDATE runs SET provenance = '1'",
        "UPDATE stages SET attempts = '{{'",
        "DELETE FROM stages",
    ),
    *(
        "UPDATE stages SET identity = '[]'",
        "UPDATE images SET path = '../../../secret.csv'",
        "UPDATE images SET path = '{path}'",
    ),
    *("UPDATE images SET n_rows = 2000000000", "UPDATE images SET n_columns = 0", "UPDATE images SET n_rows = -1"),
    *(
        "UPDATE frepo_schema SET version = 7",
        "UPDATE frepo_schema SET version = NULL",
        "INSERT INTO frepo_schema VALUES (99)",
    ),
    *("UPDATE frepo_schema SET version = 7; ALTER TABLE runs ALTER runs_dir TYPE INTEGER USING 1",),
    *(
        "UPDATE frepo_schema SET version = 7; UPDATE runs SET runs_dir = '/'",
        "ALTER TABLE ingested_files ADD COLUMN x INTEGER",
    ),
    *(
        "ALTER TABLE ingested_files ALTER taken TYPE VARCHAR",
        "ALTER TABLE metrics DROP COLUMN value",
        "DROP TABLE ingested_files",
    ),
    *(
        "CREATE OR REPLACE VIEW accuracy_table AS SELECT * FROM read_csv('{path}')",
        "CREATE OR REPLACE MACRO sum(x) AS 1",
    ),
    *(
        "CREATE OR REPLACE VIEW accuracy_table AS SELECT * FROM range(1000000000000)",
        "CREATE OR REPLACE VIEW accuracy_table AS SELECT 1",
    ),
    *("DROP TABLE runs; CREATE VIEW runs AS SELECT * FROM read_text('{path}')", "UPDATE runs SET created_at = NULL"),
    *(
        "UPDATE evaluations SET top1 = 'nan'",
        "UPDATE metrics SET step = -9223372036854775808",
        "UPDATE metrics SET value = 'inf'",
    ),
    *(
        "UPDATE runs SET name = '<script>alert(1)</script>'",
        "UPDATE runs SET run_id = '../../x'",
        "UPDATE run_stages SET stage = '../..'",
    ),
    *(
        "UPDATE stages SET class_names = [repeat('x', 1000000)]",
        "ALTER TABLE runs ALTER seed TYPE VARCHAR",
        "CREATE TABLE t (x INTEGER)",
    ),
)


@pytest.fixture(scope="module")
def database(reader_of, place):
    return reader_of("database", place / "results.duckdb")


@pytest.fixture
def show(database, place, folder_of):
    def show(content, **limits):
        files = {f"runs/{path.relative_to(place / 'runs')}": path.read_bytes() for path in place.glob("runs/**/*.*")}
        path = folder_of({**{n: c for n, c in files.items() if c}, "results.duckdb": content}) / "results.duckdb"
        error = database(path, **limits)
        for report in database.directory.glob("reports/*"):
            assert SECRET not in report.read_text()
            report.unlink()
        return error

    return show


def changed(place, tmp_path, statements):
    path = tmp_path / "changed.duckdb"
    path.write_bytes((place / "results.duckdb").read_bytes())
    with duckdb.connect(str(path)) as connection:
        for statement in statements.split(";"):
            connection.execute(statement.format(path=place / "secret.csv"))
    return path.read_bytes()


@pytest.mark.parametrize("statements", CHANGES)
def test_a_database_that_others_have_changed(place, show, tmp_path, statements, long):
    if not long and CHANGES.index(statements) % 6:
        pytest.skip("takes long; set FREPO_TEST_LONG=1")
    try:
        content = changed(place, tmp_path, statements)
    except duckdb.Error as error:
        pytest.skip(f"DuckDB does not make it: {error}")
    limits = {"peak_mib": 2200} if "range(1000000000000)" in statements else {}  # as many values as a result may have
    assert (error := show(content, **limits)) is None or "results.duckdb" in error or "query failed" in error


def test_a_database_with_changed_bytes(place, show, try_all):
    sound = (place / "results.duckdb").read_bytes()
    start = damaged(sound[:12288]).map(lambda changed: changed + sound[12288:])
    try_all(st.one_of(damaged(sound), start), show, examples=10)

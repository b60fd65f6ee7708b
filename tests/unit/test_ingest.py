"""The database follows the run directories: only what has changed is read, what cannot be taken is named."""

import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from frepo.errors import FrepoError
from frepo.execute.index import bring_up_if_free
from frepo.rundir import record
from frepo.rundir.rows import MetricRows
from frepo.runtime import RuntimeOptions
from frepo.store import connect
from frepo.store.connect import DatabaseBusyError, OlderDatabaseError, reading, writing
from frepo.store.ingest import Ingested, ingest
from frepo.store.look import look
from frepo.store.name import OfName
from frepo.store.query import query
from frepo.store.rows import Mark, digest_of, news

ALONE = {"application": [{"type": "evaluate"}], "scores": ((0.5, 0.75),)}
"""A run of two stages: one that learns, and one that evaluates."""

LOOKED_AT = ("runs", "run_stages", "stages", "metrics", "evaluations", "confusions", "images")


@pytest.fixture
def db(tmp_path):
    return tmp_path / "results.duckdb"


def contents(database):
    with reading(database) as connection:
        return {
            table: sorted(map(repr, connection.execute(f"SELECT * FROM {table}").fetchall())) for table in LOOKED_AT
        }


def metrics(database, run="small"):
    return query(database, "SELECT step, value FROM metrics WHERE run = ? ORDER BY step, value", [run]).rows


def row(step, value=0.5):
    return {"step": step, "name": "loss", "value": value}


LINES = st.lists(st.builds(row, st.integers(0, 3), st.sampled_from([0.0, 1.5])), max_size=4)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from(["append", "rewrite", "in place", "cut"]), LINES), max_size=6))
def test_what_is_read_bit_by_bit_is_what_stands_in_the_file(tmp_path, changes):
    path, mark, have = tmp_path / "metrics.jsonl", None, []
    path.unlink(missing_ok=True)
    for kind, rows in changes:
        if kind == "append":
            record.append_rows(path, rows)
        elif kind == "rewrite":
            path.unlink(missing_ok=True)
            record.append_rows(path, rows)
        elif kind == "in place":
            path.write_text("".join(json.dumps(r) + "\n" for r in rows))
        elif path.exists():
            path.write_bytes(path.read_bytes()[:-3])
        os.utime(path, ns=(0, len(have))) if path.exists() else None
        mark = None if mark is None else mark._replace(mtime_ns=-1)  # a clock as coarse as can be
        try:
            found = news(path, mark)
        except FrepoError:
            mark, have = None, []
            with pytest.raises(FrepoError):
                record.read_rows(path)
            continue
        if found is not None:
            mark, have = found.mark, [*(have if found.appended else ()), *found.rows]
        assert have == record.read_rows(path)


def test_a_checkpoint_inserts_the_new_rows_alone(fake_runs, db, monkeypatch):
    plan, _ = fake_runs(metrics=((0, "loss", 0.5),), **ALONE)
    ingest(db, fake_runs.runs_dir)
    record.append_rows(fake_runs.directory("small", plan.stages[0]) / record.METRICS, [row(1), row(2)])
    written, of_name = [], OfName._write

    def write(self, connection):
        written.append(({table: len(rows) for table, rows in self._new.items() if rows}, dict(self._old)))
        of_name(self, connection)

    monkeypatch.setattr(OfName, "_write", write)
    ingest(db, fake_runs.runs_dir, ["small"])
    ingest(db, fake_runs.runs_dir, ["small"])
    assert written == [({"metrics": 2}, {})]
    assert metrics(db) == ((0, 0.5), (1, 0.5), (2, 0.5))


@pytest.mark.parametrize("change", ["resumed", "shorter", "gone", "replaced stage", "fewer stages"])
def test_a_changed_stage_is_as_in_a_new_database(fake_runs, db, tmp_path, change):
    plan, _ = fake_runs(metrics=[(step, "loss", 0.5) for step in range(5)])
    fake_runs("other", seed=1)
    ingest(db, fake_runs.runs_dir)
    directory = fake_runs.directory("small", plan.stages[0])
    path = directory / record.METRICS
    match change:
        case "resumed":
            MetricRows(path).begin(2)
            record.append_rows(path, [row(step, 0.25) for step in range(2, 9)])
        case "shorter":
            MetricRows(path).begin(2)
        case "gone":
            path.unlink()
        case "replaced stage":
            directory.rename(directory.with_name(f".{directory.name}.replaced-1"))
        case "fewer stages":
            (run,) = record.run_files(fake_runs.runs_dir / "small")
            fewer = record.read_run(run)
            record.write_record(run, fewer.model_copy(update={"stages": fewer.stages[:2]}))
    ingest(db, fake_runs.runs_dir)
    new = tmp_path / "new.duckdb"
    ingest(new, fake_runs.runs_dir)
    assert contents(db) == contents(new)


@pytest.mark.parametrize("file", [record.METRICS, record.EVALUATIONS])
def test_rows_that_a_finished_stage_did_not_write_are_left_out(fake_runs, db, file):
    fake_runs(**ALONE)
    (path,) = fake_runs.runs_dir.glob(f"small/*/{file}")
    written = record.ResultFile(size=path.stat().st_size, sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    stage = record.read_stage(path.parent).model_copy(update={"results": {file: written}})
    record.write_record(path.parent / record.STAGE_FILE, stage)
    assert ingest(db, fake_runs.runs_dir).problems == ()
    whole = path.read_text()
    assert "0.5" in whole
    path.write_text(whole.replace("0.5", "0.6"))
    assert ingest(db, fake_runs.runs_dir).problems == (
        f"{path} is not what was written; `frepo run` with its spec sets it aside and computes it again",
    )
    assert query(db, f"SELECT * FROM {path.stem}").rows == ()
    path.write_text(whole)
    assert ingest(db, fake_runs.runs_dir).problems == ()
    assert len(query(db, f"SELECT * FROM {path.stem}").rows) == len(whole.splitlines())


TOO_LARGE = 99999999999999999999999


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (json.dumps(row(TOO_LARGE)), "`step` is 99999999999999999999999, not a whole number below 2^63"),
        (json.dumps(row(0.5)), "`step` is 0.5, not a whole number below 2^63"),
        (json.dumps(row(0, 10**400)), "`value` is 1000000000"),
        (json.dumps({"step": 0, "value": 0.5}), "`name` is missing"),
        (json.dumps({**row(0), "name": "\ud800"}), r"`name` is '\ud800', not text"),
        ("{", "line 3 is damaged"),
        ("[" * 100_000, "line 3 is damaged"),
        ("1", "line 3 is damaged"),
        ("1, 2", "line 3 is damaged"),
    ],
)
def test_what_cannot_be_taken_of_a_file_is_named_and_the_rest_goes_on(fake_runs, db, line, why):
    plan, _ = fake_runs(metrics=((0, "loss", 0.5),), **ALONE)
    path = fake_runs.directory("small", plan.stages[0]) / record.METRICS
    path.write_text(path.read_text() + json.dumps(row(1)) + "\n" + line + "\n")
    fake_runs("other", seed=1, **ALONE)
    for _ in range(2):
        found = ingest(db, fake_runs.runs_dir)
        assert found.runs == 2
        (problem,) = found.problems
        assert f"{path}, line 3" in problem
        assert why in problem
        assert metrics(db) == ()
    assert len(metrics(db, "other")) == 2
    assert query(db, "SELECT count(*) FROM evaluations").rows == ((4,),)
    path.write_text("")
    assert ingest(db, fake_runs.runs_dir) == Ingested(2)


@pytest.mark.parametrize("where", ["stage", "run", "identity"])
def test_a_record_with_a_number_that_no_column_holds_is_named_and_left_out(fake_runs, db, where):
    plan, _ = fake_runs()
    fake_runs("other", seed=1)
    stage = fake_runs.directory("small", plan.stages[0]) / record.STAGE_FILE
    (run,) = record.run_files(fake_runs.runs_dir / "small")
    path = run if where == "run" else stage
    content = json.loads(path.read_text())
    del content["sha256"]  # as earlier versions wrote records
    match where:
        case "stage":
            content["steps"] = TOO_LARGE
        case "run":
            content["spec"]["seed"] = TOO_LARGE
        case "identity":
            content["identity"] = {}
    path.write_text(json.dumps(content))
    found = ingest(db, fake_runs.runs_dir)
    assert found.runs == (1 if where == "run" else 2)
    (problem,) = found.problems
    assert str(path) in problem
    assert "left out of the database" in problem
    left = query(db, "SELECT run, count(*) FROM stages GROUP BY run ORDER BY run").rows
    assert left == ((("other", 4),) if where == "run" else (("other", 4), ("small", 3)))


def test_a_name_that_is_not_utf8_is_left_out(fake_runs, db):
    fake_runs("other", seed=1)
    fake_runs("small")
    (fake_runs.runs_dir / "small").rename(fake_runs.runs_dir / os.fsdecode(b"sm\xe4ll"))
    found = ingest(db, fake_runs.runs_dir)
    assert found.runs == 1
    assert "left out of the database" in found.problems[0]
    found.problems[0].encode()


def test_runs_that_are_gone_or_renamed_go_from_the_database_and_those_of_other_directories_stay(
    fake_runs, db, tmp_path
):
    for number, name in enumerate(("gone", "old", "kept")):
        fake_runs(name, seed=number)
    other = tmp_path / "other"
    shutil.copytree(fake_runs.runs_dir / "kept", other / "elsewhere")
    ingest(db, fake_runs.runs_dir)
    assert ingest(db, other) == Ingested(1)
    shutil.rmtree(fake_runs.runs_dir / "gone")
    (fake_runs.runs_dir / "old").rename(fake_runs.runs_dir / "new")
    assert ingest(db, fake_runs.runs_dir, ["kept"]) == Ingested(1)
    assert len(query(db, "SELECT name FROM runs").rows) == 4, "the others were not asked for"
    assert ingest(db, fake_runs.runs_dir) == Ingested(2)
    for table in ("stages", "metrics", "evaluations", "confusions", "images", "run_stages"):
        assert query(db, f"SELECT DISTINCT run FROM {table} ORDER BY run").rows == (("elsewhere",), ("kept",), ("new",))
    assert query(db, "SELECT name FROM runs ORDER BY name").rows == (("elsewhere",), ("kept",), ("new",))


def age(database, version=4):
    """Make a database one of an older frepo, which knew no directories of runs."""
    with writing(database) as connection:
        connection.execute("UPDATE frepo_schema SET version = ?", [version])
        if version == 4:
            connection.execute("DROP TABLE ingested_files; ALTER TABLE runs DROP runs_dir")


@pytest.mark.parametrize("version", [4, 3])
def test_an_older_database_is_rebuilt_from_the_run_directories(fake_runs, db, tmp_path, version):
    fake_runs("one")
    fake_runs("two", seed=1)
    other = tmp_path / "other"
    shutil.copytree(fake_runs.runs_dir / "one", other / "three")
    ingest(db, fake_runs.runs_dir)
    ingest(db, other)
    before = contents(db)
    age(db, version)
    with pytest.raises(OlderDatabaseError, match="`frepo ingest` rebuilds it"), reading(db):
        pass
    found = ingest(db, fake_runs.runs_dir, ["two"])
    if version == 4:
        assert "not found when the older database was rebuilt: three; " in found.problems[0]
        assert ingest(db, other) == Ingested(1)
    else:
        assert found == Ingested(3), "the database said where the third is"
    assert contents(db) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "results.duckdb", "runs"]


def test_an_older_database_stays_until_the_new_one_is_whole(fake_runs, db, tmp_path, monkeypatch):
    fake_runs()
    ingest(db, fake_runs.runs_dir)
    age(db)
    before = db.read_bytes()

    def fail(self, connection):
        raise duckdb.IOException("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(OfName, "_write", fail)
        with pytest.raises(FrepoError, match="cannot be written: no space left; results are safe in the run"):
            ingest(db, fake_runs.runs_dir)
    assert db.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["results.duckdb", "runs"]
    assert ingest(db, fake_runs.runs_dir) == Ingested(1)


def test_an_sqlite_file_is_refused_without_a_look_for_an_extension(fake_runs, db):
    with sqlite3.connect(db) as connection:
        connection.execute("CREATE TABLE mine (a)")
    connection.close()
    before = db.read_bytes()
    for use in (lambda: ingest(db, fake_runs.runs_dir), lambda: query(db, "SELECT 1"), lambda: connect.connect(db)):
        with pytest.raises(FrepoError, match=r"it is an SQLite database, not one of DuckDB; name another with --db"):
            use()
    assert db.read_bytes() == before


@pytest.mark.parametrize("use", ["reading", "writing", "connect"])
def test_no_extension_is_fetched_or_loaded_by_itself(db, use):
    with writing(db):
        pass
    opened = {"reading": reading, "writing": writing, "connect": connect.connect}[use]
    names = "('autoinstall_known_extensions', 'autoload_known_extensions')"
    with opened(db) as connection:
        found = connection.execute(f"SELECT DISTINCT value FROM duckdb_settings() WHERE name IN {names}").fetchall()
    assert found == [("false",)]


def test_a_notebook_that_has_the_database_open_itself_can_ask_us_too(fake_runs, db):
    fake_runs()
    ingest(db, fake_runs.runs_dir)
    with duckdb.connect(str(db), read_only=True), connect.connect(db) as copy:
        assert copy.execute("SELECT count(*) FROM runs").fetchall() == [(1,)]


@pytest.mark.parametrize("name", ["md:mine", ":memory:", "sqlite:mine"])
def test_a_database_is_a_file_whatever_it_is_called(fake_runs, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    fake_runs()
    path = type(tmp_path)(name)
    assert ingest(path, fake_runs.runs_dir) == Ingested(1)
    assert path.is_file()
    assert query(path, "SELECT count(*) FROM runs").rows == ((1,),)


HOLD = "import duckdb, sys\nheld = duckdb.connect(sys.argv[1])\nprint('held', flush=True)\nsys.stdin.read()"


def test_a_run_never_waits_for_a_database_that_somebody_has_open(fake_runs, db, monkeypatch, capsys):
    fake_runs()
    options = RuntimeOptions(runs_dir=fake_runs.runs_dir, database=db)
    bring_up_if_free(options, "small")
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", HOLD, str(db)], **pipes) as holder:
        assert holder.stdout.readline() == "held\n"
        monkeypatch.setattr(connect.time, "sleep", lambda _: pytest.fail("it waits"))
        bring_up_if_free(options, "small")
        assert capsys.readouterr().err == ""
        with pytest.raises(DatabaseBusyError):
            ingest(db, fake_runs.runs_dir, patience=0.0)
        holder.communicate("")


def test_a_damaged_file_is_warned_of_once_in_a_run_and_stops_nothing(fake_runs, db, capsys):
    plan, _ = fake_runs()
    (fake_runs.directory("small", plan.stages[0]) / record.METRICS).write_text("{\n")
    options = RuntimeOptions(runs_dir=fake_runs.runs_dir, database=db)
    for _ in range(3):
        bring_up_if_free(options, "small")
    assert capsys.readouterr().err.count("metrics.jsonl, line 1 is damaged") == 1
    assert query(db, "SELECT count(*) FROM evaluations").rows == ((4,),)


def test_a_database_that_cannot_be_written_is_warned_of_and_stops_nothing(fake_runs, db, capsys):
    fake_runs()
    db.write_text("somebody's notes, not a database")
    bring_up_if_free(RuntimeOptions(runs_dir=fake_runs.runs_dir, database=db), "small")
    assert "it is not a valid DuckDB database" in capsys.readouterr().err


def test_an_unchanged_file_is_not_read_again(tmp_path):
    path = tmp_path / "metrics.jsonl"
    record.append_rows(path, [row(0)])
    first = news(path, None)
    path.chmod(0)
    assert news(path, first.mark) is None
    assert first.mark == Mark(*first.mark[:3], path.stat().st_size, first.mark.digest)
    assert first.mark.digest != digest_of(b"")


def test_of_finished_runs_that_look_as_before_no_file_is_opened(fake_runs, db, monkeypatch):
    for name in ("one", "two"):
        fake_runs(name, **ALONE)
    assert ingest(db, fake_runs.runs_dir) == Ingested(2)
    before = contents(db)
    monkeypatch.delattr(record, "read_stage")
    assert ingest(db, fake_runs.runs_dir) == Ingested(2)
    assert contents(db) == before
    (path,) = fake_runs.runs_dir.glob("one/*/evaluations.jsonl")
    path.touch()
    problems = ingest(db, fake_runs.runs_dir).problems
    assert len(problems) == len(list(fake_runs.runs_dir.glob("one/*/stage.json")))
    assert all("read_stage" in problem for problem in problems)


@pytest.mark.parametrize("file", ["run-*.json", "*/stage.json", "*/metrics.jsonl", "*/evaluations.jsonl"])
@pytest.mark.parametrize("change", ["in place", "replaced", "gone", "beside it"])
def test_a_change_of_any_file_is_seen_without_opening_it(fake_runs, file, change):
    fake_runs(**ALONE)
    directory = fake_runs.runs_dir / "small"
    before = look(directory, "runs")
    assert before is not None
    assert look(directory, "runs") == before != look(directory, "elsewhere")
    path = next(directory.glob(file))
    at = path.stat()
    match change:
        case "in place":
            path.write_bytes(path.read_bytes()[::-1])
        case "replaced":
            other = path.with_name("other")
            other.write_bytes(path.read_bytes()[::-1])
            os.utime(other, ns=(at.st_atime_ns, at.st_mtime_ns))
            other.replace(path)
        case "gone":
            path.unlink()
        case "beside it":
            path.with_name("new.json").touch()
    assert look(directory, "runs") != before


DAMAGED = {
    "truncated": lambda content: content[: len(content) // 2],
    "zeroed": lambda content: bytes(len(content)),
    "overwritten": lambda content: content[:12] + os.urandom(len(content) - 12),
    "garbage": lambda content: os.urandom(len(content)),
    "empty": lambda content: content[:0],
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_database_is_set_aside_and_all_runs_are_in_the_new_one(fake_runs, db, capsys, damage):
    fake_runs("one")
    fake_runs("two")
    ingest(db, fake_runs.runs_dir)
    before, damaged = contents(db), DAMAGED[damage](db.read_bytes())
    db.write_bytes(damaged)
    with pytest.raises(FrepoError, match=r"is damaged \(.*\); `frepo ingest` sets it aside and rebuilds it"):
        query(db, "SELECT * FROM metrics")
    bring_up_if_free(RuntimeOptions(runs_dir=fake_runs.runs_dir, database=db), "one")
    assert contents(db) == before
    assert db.with_name("results.duckdb.damaged").read_bytes() == damaged
    said = capsys.readouterr().err
    assert "is damaged" in said
    assert "set aside as results.duckdb.damaged and rebuilt from the runs in" in said


def test_a_damaged_log_of_changes_goes_aside_with_its_database(fake_runs, db):
    fake_runs()
    ingest(db, fake_runs.runs_dir)
    before = contents(db)
    leave = "import duckdb, os, sys; c = duckdb.connect(sys.argv[1]); c.execute('DELETE FROM metrics'); os._exit(0)"
    subprocess.run([sys.executable, "-c", leave, db], check=True)
    log = db.with_name("results.duckdb.wal")
    content = bytearray(log.read_bytes())
    content[len(content) // 2] ^= 1
    log.write_bytes(content)
    ingest(db, fake_runs.runs_dir)
    assert contents(db) == before
    assert db.with_name("results.duckdb.wal.damaged").exists()


def test_into_a_database_that_was_lost_come_all_runs(fake_runs, db):
    fake_runs("one")
    fake_runs("two")
    bring_up_if_free(RuntimeOptions(runs_dir=fake_runs.runs_dir, database=db), "one")
    assert query(db, "SELECT name FROM runs ORDER BY name").rows == (("one",), ("two",))

import csv
import io
import json
import shutil
import statistics
import subprocess
import sys
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest
from scipy import stats

from frepo.errors import FrepoError
from frepo.rundir import lease, record
from frepo.store import connect
from frepo.store.connect import DatabaseBusyError, atomically, reading, writing
from frepo.store.ingest import Ingested, ingest
from frepo.store.query import query
from frepo.store.tables import accuracy_rows, accuracy_text, list_runs, percent
from frepo.store.text import Rows, format_rows

TABLES = (
    "frepo_schema",
    "runs",
    "run_stages",
    "stages",
    "metrics",
    "evaluations",
    "confusions",
    "scores",
    "continual",
    "attacks",
    "images",
    "published",
)


@pytest.fixture
def db(tmp_path) -> Path:
    return tmp_path / "results.duckdb"


def contents(database: Path) -> dict[str, Counter[str]]:
    """Return the rows of every table, in no order."""
    return {table: Counter(map(repr, query(database, f"SELECT * FROM {table}").rows)) for table in TABLES}


def statuses(database: Path) -> dict[str, str]:
    return dict(query(database, "SELECT label, status FROM stages").rows)


def one_value(database: Path, sql: str) -> Any:
    ((value,),) = query(database, sql).rows
    return value


def test_a_run_is_in_the_database_as_it_stands_on_disk(fake_runs, db):
    plan, run = fake_runs(overrides=("seed=0", "pool.size=10"))
    assert ingest(db, fake_runs.runs_dir) == Ingested(1)
    (row,) = query(db, "SELECT * FROM runs").dicts()
    assert (row["run_id"], row["name"], row["fingerprint"]) == (plan.run_id, "small", plan.fingerprint)
    assert (row["dataset"], row["method"], row["ipc"], row["seed"]) == ("digits", "frepo", 1, 0)
    assert (row["status"], row["command"], row["git_commit"]) == ("done", "frepo run small.toml", "c0ffee")
    assert row["created_at"] == run.created.replace(tzinfo=None)
    assert row["overrides"] == ["seed=0", "pool.size=10"]
    assert json.loads(row["spec"]) == plan.spec.model_dump(mode="json")
    stages = query(db, "SELECT stage, position FROM run_stages ORDER BY position").rows
    assert stages == tuple((stage.directory, position) for position, stage in enumerate(plan.stages))
    (distilled, *_) = query(db, "SELECT * FROM stages WHERE label = 'frepo'").dicts()
    assert (distilled["kind"], distilled["step"], distilled["wall_s"]) == ("distill", 1000, 90.0)
    assert distilled["class_names"] == ["zero", "one"]
    assert json.loads(distilled["identity"]) == plan.stages[0].identity
    assert one_value(db, "SELECT count(*) FROM evaluations") == 4
    assert one_value(db, "SELECT count(*) FROM images") == 3


def test_ingesting_twice_changes_nothing(fake_runs, db):
    fake_runs("one")
    fake_runs("two", seed=1)
    assert ingest(db, fake_runs.runs_dir) == Ingested(2)
    first = contents(db)
    assert ingest(db, fake_runs.runs_dir) == Ingested(2)
    assert ingest(db, fake_runs.runs_dir, ["two"]) == Ingested(1)
    assert contents(db) == first
    assert [table for table, rows in first.items() if not rows] == ["scores", "continual", "attacks"]


def test_a_copied_run_directory_can_be_ingested_twice(fake_runs, db):
    fake_runs("one")
    shutil.copytree(fake_runs.runs_dir / "one", fake_runs.runs_dir / "copy")
    ingest(db, fake_runs.runs_dir, ["copy"])
    first = contents(db)
    ingest(db, fake_runs.runs_dir, ["copy"])
    assert contents(db) == first


def test_a_changed_run_directory_takes_the_place_of_the_old_rows(fake_runs, db):
    fake_runs("other", seed=1)
    fake_runs(scores=((0.5, 0.75), (0.25, 0.5)))
    ingest(db, fake_runs.runs_dir)
    others = query(db, "SELECT * FROM stages WHERE run = 'other' ORDER BY stage")
    fake_runs(scores=((0.875,), (0.125,)), metrics=((3, "krr_error", 1.5),))
    ingest(db, fake_runs.runs_dir, ["small"])
    top1 = query(db, "SELECT source, top1 FROM evaluations WHERE run = 'small' ORDER BY source").rows
    assert top1 == (("distilled", 0.875), ("random", 0.125))
    found = query(db, "SELECT DISTINCT step, name, value FROM metrics WHERE run = 'small'").rows
    assert found == ((3, "krr_error", 1.5),)
    assert query(db, "SELECT * FROM stages WHERE run = 'other' ORDER BY stage") == others


def test_only_the_named_runs_are_ingested(fake_runs, db):
    for name in ("one", "two", "three"):
        fake_runs(name)
    assert ingest(db, fake_runs.runs_dir, ["one", "three", "none"]) == Ingested(2)
    assert query(db, "SELECT name FROM runs ORDER BY name").rows == (("one",), ("three",))


def test_a_deleted_database_is_rebuilt_the_same(fake_runs, db):
    fake_runs("one")
    fake_runs("two", seed=1)
    ingest(db, fake_runs.runs_dir)
    before = contents(db)
    db.unlink()
    ingest(db, fake_runs.runs_dir)
    assert contents(db) == before


def test_no_run_directories_make_an_empty_database(tmp_path, db):
    assert ingest(db, tmp_path / "nothing") == Ingested(0)
    assert contents(db)["runs"] == Counter()


def test_hidden_directories_and_files_are_no_runs(fake_runs, db):
    fake_runs("one")
    (fake_runs.runs_dir / ".cache").mkdir()
    (fake_runs.runs_dir / "notes.txt").write_text("text")
    (fake_runs.runs_dir / "empty").mkdir()
    assert ingest(db, fake_runs.runs_dir) == Ingested(1)


def test_a_stage_shared_by_two_specs_of_one_name_is_there_once(fake_runs, db):
    fake_runs(scores=((0.5,), (0.25,)))
    fake_runs(application=[{"type": "evaluate", "baselines": ["random"], "num_models": 3}], scores=((0.5,), (0.25,)))
    assert ingest(db, fake_runs.runs_dir) == Ingested(2)
    assert one_value(db, "SELECT count(*) FROM stages WHERE label = 'frepo'") == 1
    assert one_value(db, "SELECT count(*) FROM run_stages") == 8
    assert one_value(db, "SELECT count(*) FROM accuracy_table") == 4


def test_values_of_metrics_keep_what_they_are(fake_runs, db):
    values = [1, 0.5, 1e300, -0.0, 1e-300, 2**40, 0.1]
    fake_runs(metrics=[(step, "m", value) for step, value in enumerate(values)])
    ingest(db, fake_runs.runs_dir)
    found = query(db, "SELECT DISTINCT step, value FROM metrics ORDER BY step").rows
    assert [repr(value) for _, value in found] == [repr(float(value)) for value in values]


HOSTILE = 'O\'Brien "x"; DROP TABLE runs; -- é\u2028'


def test_text_is_data_and_never_sql(fake_runs, db):
    fake_runs(HOSTILE, spec_text=HOSTILE, class_names=(HOSTILE, "b"), overrides=(HOSTILE,))
    ingest(db, fake_runs.runs_dir)
    ingest(db, fake_runs.runs_dir, [HOSTILE])
    assert query(db, "SELECT name, spec_text, overrides FROM runs").rows == ((HOSTILE, HOSTILE, [HOSTILE]),)
    assert query(db, "SELECT DISTINCT class_names FROM stages").rows == (([HOSTILE, "b"],),)


def test_a_damaged_record_is_named_and_left_out(fake_runs, db):
    plan, _ = fake_runs("one")
    ingest(db, fake_runs.runs_dir)
    before = contents(db)
    path = fake_runs.directory("one", plan.stages[-1]) / record.STAGE_FILE
    path.write_text("{")
    found = ingest(db, fake_runs.runs_dir)
    assert found.runs == 1
    assert len(found.problems) == 1
    assert f"{path} is damaged" in found.problems[0]
    assert ingest(db, fake_runs.runs_dir) == found, "named every time"
    shutil.rmtree(path.parent)
    after = contents(db)
    assert ingest(db, fake_runs.runs_dir) == Ingested(1)
    assert contents(db) == after, "as if it had never started"
    assert after != before


@pytest.mark.parametrize("scores", [(0.5, 0.75), (0.1, 0.2, 0.7), (0.9, 0.9, 0.9), (0.123, 0.456, 0.789, 0.321, 0.654)])
def test_accuracies_have_mean_and_sample_deviation(fake_runs, db, scores):
    plan, _ = fake_runs(scores=(scores, (0.25, 0.5)), class_names="abcdef")
    ingest(db, fake_runs.runs_dir)
    distilled, random = accuracy_rows(db, [plan.run_id])
    assert (distilled["source"], random["source"]) == ("distilled", "random")
    assert distilled["num_models"] == len(scores)
    assert distilled["top1_mean"] == pytest.approx(statistics.mean(scores), rel=1e-12)
    assert distilled["top1_std"] == pytest.approx(statistics.stdev(scores), rel=1e-12, abs=1e-12)
    assert (distilled["top1_min"], distilled["top1_max"]) == (min(scores), max(scores))
    top5 = [(1 + score) / 2 for score in scores]
    assert distilled["top5_mean"] == pytest.approx(statistics.mean(top5), rel=1e-12)
    assert distilled["top5_std"] == pytest.approx(statistics.stdev(top5), rel=1e-12, abs=1e-12)


def test_one_network_has_no_deviation(fake_runs, db):
    plan, _ = fake_runs(scores=((0.5,), (0.25,)), class_names="abcdef")
    ingest(db, fake_runs.runs_dir)
    assert [(row["top1_mean"], row["top1_std"]) for row in accuracy_rows(db, [plan.run_id])] == [
        (0.5, None),
        (0.25, None),
    ]
    assert "top-1 50.0%  top-5 75.0%" in accuracy_text(db, [plan.run_id])


@pytest.mark.parametrize(
    ("mean", "deviation", "text"), [(0.5, None, "50.0%"), (0.625, 0.0123, "62.5 ± 1.2%"), (1.0, 0.0, "100.0 ± 0.0%")]
)
def test_shares_are_shown_as_percent(mean, deviation, text):
    assert percent(mean, deviation) == text


def test_accuracies_are_those_of_the_runs_asked_for(fake_runs, db):
    one, _ = fake_runs("one")
    fake_runs("two", seed=1)
    ingest(db, fake_runs.runs_dir)
    (run_id,) = query(db, "SELECT run_id FROM runs WHERE name = 'one'").rows[0]
    rows = accuracy_rows(db, [run_id])
    assert [(row["name"], row["stage"]) for row in rows] == [
        ("one", stage.directory) for stage in one.stages if stage.work.kind == "evaluate"
    ]
    assert accuracy_rows(db, []) == []


def test_runs_are_listed_oldest_first_with_their_accuracies(fake_runs, db):
    later = datetime(2025, 1, 1, tzinfo=UTC)
    fake_runs("late", seed=1, created=later)
    fake_runs("early", scores=((0.5,), (0.25,)))
    ingest(db, fake_runs.runs_dir)
    early, late = list_runs(db).dicts()
    assert early["run_id"].startswith("early-")
    assert (early["distilled_top1"], early["random_top1"], early["wall_s"]) == (0.5, 0.25, 4 * 90.0)
    assert (late["created"], late["seed"]) == ("2025-01-01 00:00", 1)


def test_a_stage_that_says_running_without_its_lock_was_interrupted(fake_runs, db):
    plan, _ = fake_runs(status="running")
    held = plan.stages[1]
    with lease.held(fake_runs.directory("small", held), 0.0):
        ingest(db, fake_runs.runs_dir)
    expected = {stage.label: "interrupted" for stage in plan.stages}
    assert statuses(db) == {**expected, held.label: "running"}
    assert one_value(db, "SELECT status FROM runs") == "running"
    ingest(db, fake_runs.runs_dir)
    assert statuses(db) == expected
    assert one_value(db, "SELECT status FROM runs") == "interrupted"


@pytest.mark.parametrize("status", ["done", "failed", "stopped"])
def test_a_stage_that_ended_keeps_its_status(fake_runs, db, status):
    plan, _ = fake_runs(status=status)
    ingest(db, fake_runs.runs_dir)
    assert statuses(db) == {stage.label: status for stage in plan.stages}
    assert one_value(db, "SELECT status FROM runs") == status


@pytest.mark.parametrize(("left", "status"), [(0, "pending"), (1, "stopped"), (3, "stopped"), (4, "done")])
def test_a_run_is_done_when_all_its_stages_are(fake_runs, db, left, status):
    plan, _ = fake_runs()
    for stage in plan.stages[left:]:
        shutil.rmtree(fake_runs.directory("small", stage))
    ingest(db, fake_runs.runs_dir)
    assert one_value(db, "SELECT status FROM runs") == status
    assert one_value(db, "SELECT count(*) FROM stages") == left


def test_reading_without_a_database_says_how_to_make_one(db):
    with pytest.raises(FrepoError, match=r"there is no database .*results\.duckdb; `frepo run SPEC` makes one"):
        query(db, "SELECT 1")
    assert not db.exists()


def use(database: Path, kind: str) -> None:
    with reading(database) if kind == "reading" else writing(database):
        pass


@pytest.mark.parametrize("kind", ["reading", "writing"])
@pytest.mark.parametrize(
    ("version", "advice"),
    [
        (99, "update frepo, or name another with --db"),
        (4, "`frepo ingest` rebuilds it"),
        (0, "`frepo ingest` rebuilds"),
    ],
)
def test_a_database_of_another_version_is_refused_and_left_alone(db, kind, version, advice):
    with writing(db) as connection:
        connection.execute("UPDATE frepo_schema SET version = ?", [version])
    before = db.read_bytes()
    with pytest.raises(FrepoError, match=rf"has schema {version}, this frepo reads schema 8: {advice}"):
        use(db, kind)
    assert db.read_bytes() == before


@pytest.mark.parametrize("kind", ["reading", "writing"])
@pytest.mark.parametrize("content", [b"", b"not a database\n" * 1000], ids=["empty", "text"])
def test_a_file_that_is_no_database_is_refused_and_left_alone(db, kind, content):
    db.write_bytes(content)
    with pytest.raises(FrepoError, match="not a valid DuckDB database"):
        use(db, kind)
    assert db.read_bytes() == content


@pytest.mark.parametrize("kind", ["reading", "writing"])
@pytest.mark.parametrize("made", ["TABLE mine (a INTEGER)", "VIEW mine AS SELECT 1"], ids=["table", "view"])
def test_a_database_of_another_program_is_refused_and_left_alone(db, kind, made):
    with duckdb.connect(str(db)) as connection:
        connection.execute(f"CREATE {made}")
    before = db.read_bytes()
    with pytest.raises(FrepoError, match="is a DuckDB database of another program; name another with --db"):
        use(db, kind)
    assert db.read_bytes() == before


@pytest.mark.parametrize("kind", ["reading", "writing"])
def test_the_name_of_a_file_is_not_taken_for_a_lock(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(connect, "PATIENCE_SECONDS", 0.0)
    database = tmp_path / "clock.duckdb"
    database.write_text("not a database\n" * 1000)
    with pytest.raises(FrepoError, match="cannot be opened: ") as caught:
        use(database, kind)
    assert not isinstance(caught.value, DatabaseBusyError)


def test_a_directory_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FrepoError, match=r"the database .*nowhere.* cannot be opened: .*No such file"):
        use(tmp_path / "nowhere" / "results.duckdb", "writing")


HOLD = """
import duckdb, sys
connection = duckdb.connect(sys.argv[1])
print("held", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("kind", ["reading", "writing"])
def test_a_database_that_stays_locked_is_busy_and_free_again_later(db, monkeypatch, kind):
    use(db, "writing")
    monkeypatch.setattr(connect, "PATIENCE_SECONDS", 0.0)
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(db)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(DatabaseBusyError, match="stayed locked by another process"):
            use(db, kind)
        holder.communicate("")
    use(db, kind)


def test_an_error_inside_a_transaction_undoes_all_of_it(fake_runs, db):
    fake_runs()
    ingest(db, fake_runs.runs_dir)
    before = contents(db)

    def fail() -> None:
        with writing(db) as connection, atomically(connection):
            connection.execute("DELETE FROM runs")
            connection.execute("DELETE FROM nothing")

    with pytest.raises(duckdb.Error, match="nothing"):
        fail()
    assert contents(db) == before


@pytest.mark.parametrize(
    "sql",
    [
        "DROP TABLE runs",
        "DELETE FROM runs",
        "UPDATE runs SET seed = 1",
        "INSERT INTO frepo_schema VALUES (2)",
        "CREATE TABLE t (a INTEGER)",
        "CREATE VIEW v AS SELECT 1",
        "SELECT 1; DROP TABLE runs",
        "BEGIN; DROP TABLE runs; COMMIT",
        "COPY runs TO '{directory}/out.csv'",
        "COPY (SELECT 1) TO '{directory}/secret.csv'",
        "COPY runs FROM '{directory}/secret.csv'",
        "EXPORT DATABASE '{directory}/out'",
        "ATTACH '{directory}/out.duckdb' AS other",
        "SELECT * FROM read_csv('{directory}/secret.csv')",
        "SELECT * FROM '{directory}/secret.csv'",
        "SELECT * FROM read_text('{directory}/secret.csv')",
        "SELECT * FROM glob('{directory}/*')",
        "SELECT * FROM read_csv('https://localhost:1/data.csv')",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET enable_external_access = true",
        "SET lock_configuration = false",
        "SET temp_directory = '{directory}/out'",
    ],
)
def test_a_query_reaches_and_changes_nothing(fake_runs, db, tmp_path, sql):
    fake_runs()
    ingest(db, fake_runs.runs_dir)
    (tmp_path / "secret.csv").write_text("secret\n1\n")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(FrepoError, match="the query failed: ") as caught:
        query(db, sql.format(directory=tmp_path))
    assert caught.value.exit_code == 1
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("sql", ["SELEC 1", "SELECT * FROM nothing", "SELECT 1 / 'a'", "SELECT ?", "", "-- nothing"])
def test_wrong_sql_is_an_error_of_the_user(db, sql):
    use(db, "writing")
    with pytest.raises(FrepoError):
        query(db, sql)


def test_parameters_are_bound(db):
    use(db, "writing")
    assert query(db, "SELECT ? AS a, ? AS b", ["'; DROP TABLE runs", 2]) == Rows(
        ("a", "b"), (("'; DROP TABLE runs", 2),)
    )


WRITE = """
import sys
from pathlib import Path
from frepo.rundir import record
from frepo.store.ingest import Ingested, ingest

database, metrics, name = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
for step in range(5):
    record.append_rows(metrics, [{"step": step, "name": "m", "value": step / 2}])
    ingest(database, metrics.parents[2], [name])
"""


def test_writers_and_a_reader_at_once_lose_nothing(fake_runs, db):
    names = ["one", "two", "three", "four"]
    metrics = {}
    for name in names:
        plan, _ = fake_runs(name, metrics=())
        metrics[name] = fake_runs.directory(name, plan.stages[0]) / record.METRICS
    use(db, "writing")
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITE, str(db), str(metrics[name]), name], stderr=subprocess.PIPE)
        for name in names
    ]
    seen: dict[str, int] = {}
    while any(writer.poll() is None for writer in writers):
        counts = query(
            db,
            """SELECT r.name, (SELECT count(*) FROM metrics m WHERE m.run = r.name),
            (SELECT count(*) FROM evaluations e WHERE e.run = r.name) FROM runs r""",
        )
        for name, steps, evaluations in counts.rows:
            assert evaluations == 4
            assert seen.get(name, 1) <= steps <= 5
            seen[name] = steps
    assert [(writer.communicate()[1], writer.returncode) for writer in writers] == [(b"", 0)] * 4
    assert dict(query(db, "SELECT run, count(*) FROM metrics GROUP BY run").rows) == dict.fromkeys(names, 5)
    assert one_value(db, "SELECT count(*) FROM evaluations") == 16
    together = contents(db)
    db.unlink()
    ingest(db, fake_runs.runs_dir)
    assert contents(db) == together


MOMENT = datetime(2024, 5, 6, 7, 8, 9, 123456)
ROWS = Rows(
    ("name", "n", "when", "items"),
    (
        ("plain", 1, MOMENT, ["a", "b"]),
        ('two\nlines, "quoted"', 0.123456789, None, []),
        ("ünï→", None, None, None),
    ),
)


def test_a_table_is_aligned_with_numbers_to_the_right():
    assert format_rows(ROWS, "table").splitlines() == [
        "name                         n  when                 items",
        "--------------------  --------  -------------------  ----------",
        "plain                        1  2024-05-06 07:08:09  ['a', 'b']",
        'two\\nlines, "quoted"  0.123457                       []',
        "ünï→",
    ]


def test_csv_reads_back():
    text = format_rows(ROWS, "csv")
    assert text.startswith("name,n,when,items\n")
    assert list(csv.reader(io.StringIO(text, newline="")))[1:] == [
        ["plain", "1", "2024-05-06 07:08:09.123456", "['a', 'b']"],
        ['two\nlines, "quoted"', "0.123456789", "", "[]"],
        ["ünï→", "", "", ""],
    ]


def test_json_reads_back():
    assert json.loads(format_rows(ROWS, "json")) == [
        {"name": "plain", "n": 1, "when": "2024-05-06T07:08:09.123456", "items": ["a", "b"]},
        {"name": 'two\nlines, "quoted"', "n": 0.123456789, "when": None, "items": []},
        {"name": "ünï→", "n": None, "when": None, "items": None},
    ]


@pytest.mark.parametrize(
    ("value", "expected"),
    [(date(2024, 1, 2), "2024-01-02"), (Decimal("1.50"), 1.5), (timedelta(1), repr(timedelta(1)))],
)
def test_values_that_json_lacks_are_written_as_text_or_number(value, expected):
    assert json.loads(format_rows(Rows(("a",), ((value,),)), "json")) == [{"a": expected}]


@pytest.mark.parametrize(("style", "text"), [("table", "a  bc\n-  --\n"), ("csv", "a,bc\n"), ("json", "[]\n")])
def test_no_rows_still_have_columns(style, text):
    assert format_rows(Rows(("a", "bc"), ()), style) == text


@pytest.mark.parametrize("style", ["table", "csv", "json"])
def test_every_column_of_the_database_can_be_printed(fake_runs, db, style):
    crossed = {"type": "cross_architecture", "architectures": [{"type": "vgg11"}, {"width": 8}]}
    parts = [
        {"type": "continual", "num_steps": 5, "num_classes": 10},
        {"type": "membership", "chunk_size": 100, "train_steps": [10]},
    ]
    fake_runs(application=[crossed, {"type": "fair_scores"}, *parts], scores=((0.5,),) * 8)
    ingest(db, fake_runs.runs_dir)
    views = query(db, "SELECT view_name FROM duckdb_views() WHERE NOT internal").rows
    for table in (*TABLES, *(name for (name,) in views)):
        rows = query(db, f"SELECT * FROM {table}")
        text = format_rows(rows, style)
        assert all(column in text for column in rows.columns)
        assert text.endswith("\n")


def test_the_interval_of_the_mean_is_that_of_student(fake_runs, db):
    fake_runs(scores=((0.1, 0.4, 0.5), (0.25,)))
    ingest(db, fake_runs.runs_dir)
    three, one = query(db, "SELECT num_models, top1_ci95 FROM accuracy_table").rows
    half = stats.t.ppf(0.975, 2) * stats.sem([0.1, 0.4, 0.5])
    assert three == (3, pytest.approx(half, rel=1e-6))
    assert one == (1, None)


def test_the_quantiles_are_those_of_student(db, tmp_path):
    ingest(db, tmp_path / "nothing")
    degrees, quantiles = zip(*query(db, "SELECT * FROM student ORDER BY degrees").rows, strict=True)
    assert degrees == tuple(range(1, 1001))
    assert quantiles == pytest.approx(stats.t.ppf(0.975, degrees), rel=1e-12)


def test_one_network_is_no_comparison_of_architectures(fake_runs, db):
    fake_runs()
    ingest(db, fake_runs.runs_dir)
    assert query(db, "SELECT * FROM cross_architecture").rows == ()


def test_accuracy_by_class_is_taken_from_the_confusions(fake_runs, db):
    fake_runs()
    ingest(db, fake_runs.runs_dir)
    rows = query(db, "SELECT class_name, num_models, accuracy_mean, accuracy_std FROM class_accuracy").rows
    assert rows == (("zero", 2, 0.75, 0.0), ("one", 2, 0.75, 0.0)) * 2


def test_rows_of_an_older_version_lack_what_it_did_not_record(fake_runs, db):
    plan, _ = fake_runs()
    path = fake_runs.directory("small", plan.stages[1]) / record.EVALUATIONS
    rows = [{k: v for k, v in row.items() if k not in ("loss", "pooling")} for row in record.read_rows(path)]
    path.unlink()
    record.append_rows(path, rows)
    ingest(db, fake_runs.runs_dir)
    assert query(db, "SELECT DISTINCT loss, pooling FROM evaluations WHERE source = 'distilled'").rows == (
        (None, None),
    )


INTERRUPTED = """
import os, signal, sys, threading
from pathlib import Path
from frepo.store.query import query
threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
try:
    query(Path(sys.argv[1]), sys.argv[2])
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT sum(i) FROM range(1000000000000) t(i)",
        "SELECT count(*) FROM range(100000000) a, range(1000000) b WHERE a.range + b.range = 3",
        "SELECT * FROM range(1000000000000) t(i) WHERE i < 0",
    ],
)
def test_an_interrupt_during_a_query_is_one_and_no_error_of_duckdb(tmp_path, sql):
    path = tmp_path / "results.duckdb"
    with writing(path):
        pass
    command = [sys.executable, "-c", INTERRUPTED, str(path), sql]
    assert subprocess.run(command, capture_output=True, text=True, timeout=60).stdout == "interrupted\n"

"""Every recipe of `reports/sql.md` runs and finds something, and there is one for every table and view."""

import itertools
import math
import re
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from scipy import stats

import frepo
from frepo.errors import FrepoError
from frepo.store.ingest import ingest
from frepo.store.query import query

PAGE = (Path(__file__).parents[2] / "reports" / "sql.md").read_text()
RECIPES = re.findall(r"```sql\n(.*?)```", PAGE, flags=re.DOTALL)
(PYTHON,) = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)

EVALUATE = {"type": "evaluate", "baselines": ["random"]}
PARTS = [
    {"type": "cross_architecture", "architectures": [{"type": "vgg11"}, {"width": 8}]},
    {"type": "fair_scores"},
    {"type": "continual", "num_steps": 5, "num_classes": 10},
    {"type": "membership", "chunk_size": 100, "train_steps": [10, 20]},
]
METRICS = ((0, "loss", 0.5), (10, "loss", 0.25), (10, "validation_accuracy", 0.75))
DISTILLED = (0.6, 0.7, 0.65)
RANDOM = (0.3, 0.45, 0.35, 0.5)


@pytest.fixture
def database(fake_runs, tmp_path, monkeypatch) -> Path:
    """Return a database with a run of everything, two seeds of one spec, and a run that failed."""
    fake_runs("quickstart", application=[EVALUATE], scores=(DISTILLED, RANDOM), metrics=METRICS)
    fake_runs("again", seed=1, application=[EVALUATE], scores=((0.5, 0.75), (0.25, 0.5)), metrics=METRICS)
    for seed, ipc in itertools.product((0, 1), (3, 4)):
        fake_runs(f"grid-{ipc}-{seed}", seed=seed, ipc=ipc, sweep="grid", swept={"seed": seed, "distill.ipc": ipc})
    fake_runs("all", ipc=2, application=PARTS, scores=((0.5, 0.25),) * 8)
    fake_runs("broken", application=[], scores=(), status="failed")
    monkeypatch.chdir(tmp_path)
    ingest(Path("results.duckdb"), fake_runs.runs_dir)
    return tmp_path / "results.duckdb"


def recipe(words: str) -> str:
    """Return the recipe that a question with these words asks for."""
    (found,) = re.findall(rf"{re.escape(words)}.*?\n\n```sql\n(.*?)```", PAGE, flags=re.DOTALL)
    return found


def dicts(database: Path, words: str) -> list[dict[str, Any]]:
    return query(database, recipe(words)).dicts()


def names_in(sql: str) -> Iterator[str]:
    yield from re.findall(r"\b(?:FROM|JOIN|COPY|,) (\w+)\b", sql)


def test_every_recipe_runs_and_finds_something(database):
    assert len(RECIPES) > 20
    with frepo.connect(database) as connection:
        for sql in RECIPES:
            rows = connection.execute(sql).fetchall()
            assert rows, sql
            if sql.startswith("COPY"):
                with pytest.raises(FrepoError, match=r"file system|disabled"):
                    query(database, sql)
            else:
                assert len(query(database, sql).rows) == len(rows), "the command gives the same"


def test_files_are_written_where_the_recipe_says(database):
    with frepo.connect(database) as connection:
        for sql in (sql for sql in RECIPES if sql.startswith("COPY")):
            connection.execute(sql)
    count = "SELECT count(*) FROM"
    assert duckdb.sql(f"{count} 'accuracy.parquet'").fetchall() == list(query(database, f"{count} accuracy_table").rows)
    assert duckdb.sql(f"{count} 'evaluations.csv'").fetchall() == list(query(database, f"{count} evaluations").rows)


def test_every_table_and_view_is_in_a_recipe(database):
    shown = {name for sql in RECIPES for name in names_in(sql)}
    listing = "SELECT table_name FROM duckdb_tables() UNION ALL SELECT view_name FROM duckdb_views() WHERE NOT internal"
    missing = {name for (name,) in query(database, listing).rows} - shown
    assert not missing


def test_every_recipe_has_a_question_of_its_own():
    before = [part.rsplit("```", 1)[-1].strip() for part in PAGE.split("```sql\n")[:-1]]
    assert sum(bool(text) for text in before) >= len(RECIPES) - 1, "the two files of the last section share theirs"


def test_python_reads_as_the_page_says(database):
    found: dict[str, Any] = {}
    exec(PYTHON, found)
    assert found["rows"] == list(query(database, "SELECT name, source, top1_mean FROM accuracy_table").rows)
    assert found["results"].sql("SELECT 1 AS a").arrow().read_all().to_pydict() == {"a": [1]}


def test_welch_is_that_of_scipy(database):
    rows = dicts(database, "Is one better than another")
    (row,) = [row for row in rows if row["name_a"] == row["name_b"] == "quickstart"]
    assert (row["source_a"], row["source_b"]) == ("distilled", "random")
    exact = stats.ttest_ind(DISTILLED, RANDOM, equal_var=False)
    error = math.sqrt(stats.sem(DISTILLED) ** 2 + stats.sem(RANDOM) ** 2)
    expected = 100 * error * stats.t.ppf(0.975, math.floor(exact.df))
    assert row["interval95"] == pytest.approx(expected, abs=0.05)
    assert row["points"] == pytest.approx(100 * (sum(DISTILLED) / 3 - sum(RANDOM) / 4), abs=0.05)
    assert row["significant"] is bool(exact.pvalue < 0.05)


def test_the_gain_the_seeds_and_the_time_are_right(database):
    gains = {row["name"]: row["gain"] for row in dicts(database, "How much do distilled images gain") if row["gain"]}
    assert (gains["quickstart"], gains["again"]) == (25.0, 25.0)
    (seeds,) = [
        row
        for row in dicts(database, "What are the mean, the std and the 95% interval over seeds")
        if row["runs"] == "again, quickstart" and row["source"] == "random"
    ]
    assert (seeds["ipc"], seeds["num_seeds"], seeds["num_models"]) == (1, 2, 2)
    means = 40.0, 37.5
    assert seeds["top1"] == pytest.approx(sum(means) / 2, abs=0.05)
    assert seeds["over_seeds"] == pytest.approx(statistics.stdev(means), abs=0.05)
    assert seeds["interval95"] == pytest.approx(stats.t.ppf(0.975, 1) * stats.sem(means), abs=0.05)
    hours = {row["run_id"].rsplit("-", 1)[0]: row["hours"] for row in dicts(database, "How long did each run take")}
    assert hours["quickstart"] == pytest.approx(4 * 90 / 3600, abs=5e-4)


def test_a_sweep_is_taken_over_its_seeds(database):
    rows = dicts(database, "The same of one sweep")
    assert [(row["ipc"], row["source"], row["num_seeds"]) for row in rows] == [
        (ipc, source, 2) for ipc in ("3", "4") for source in ("distilled", "random")
    ]
    (sweep,) = dicts(database, "Which sweeps are there")
    assert sweep == {"sweep": "grid", "experiments": 2, "seeds": [0, 1], "runs": 4, "done": 4}


def test_only_fields_that_differ_are_listed(database):
    differing = {row["field"] for row in dicts(database, "In which fields do the specs")}
    assert {"$.seed", "$.name", "$.distill.ipc", "$.application[0].type"} <= differing
    assert not {"$.distill.steps", "$.dataset.name", "$.architecture.width"} & differing

"""`import frepo`, as a notebook does it: light, complete, and a connection that stays open beside runs."""

import inspect
import subprocess
import sys
import tempfile
from importlib.resources import files

import duckdb
import pytest
import typer.main

import frepo
from frepo.cli import app
from frepo.store.ingest import ingest

LARGE = {"jax", "flax", "optax", "duckdb", "pydantic", "numpy", "typer", "rich", "tensorflow_datasets"}


def names(connection):
    return [name for (name,) in connection.execute("SELECT name FROM runs ORDER BY name").fetchall()]


def test_the_import_alone_loads_nothing_large():
    code = f"import sys, frepo; dir(frepo); print({{name.split('.')[0] for name in sys.modules}} & {LARGE})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n", done.stdout


def test_every_name_is_there_and_no_other():
    for name in frepo.__all__:
        assert name in dir(frepo)
        assert inspect.getdoc(getattr(frepo, name)), name
    with pytest.raises(AttributeError, match=r"module 'frepo' has no attribute 'lod_spec'"):
        getattr(frepo, "lod_spec")  # noqa: B009 (pyright would know that it is not there)


def test_the_package_says_that_it_is_typed():
    assert files("frepo").joinpath("py.typed").is_file()


def test_the_options_of_a_run_are_those_of_the_command():
    command = typer.main.get_command(app).commands["run"]
    options = {parameter.name: parameter.default for parameter in command.params}
    keywords = {
        name: parameter.default
        for name, parameter in inspect.signature(frepo.run).parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }
    assert len(keywords) > 5
    assert keywords == {name: options[name] for name in keywords}


def test_a_path_may_be_a_string_and_overrides_a_list(tmp_path):
    path = tmp_path / "small.toml"
    path.write_text('name = "small"\n[dataset]\nname = "digits"\n[distill]\nmethod = "frepo"\nipc = 1\n')
    loaded = frepo.load_spec(str(path), ["seed=3", "distill.ipc=2"])
    assert (loaded.path, loaded.spec.seed, loaded.spec.distill.ipc) == (path, 3, 2)
    assert loaded.overrides == ("seed=3", "distill.ipc=2")
    assert frepo.compile_plan(loaded.spec).run_id.startswith("small-")
    with pytest.raises(frepo.SpecError, match="no such file"):
        frepo.run(str(tmp_path / "none.toml"))


def test_a_connection_that_stays_open_keeps_nobody_from_writing(fake_runs, tmp_path):
    database = tmp_path / "results.duckdb"
    fake_runs("one")
    ingest(database, fake_runs.runs_dir)
    with frepo.connect(database) as connection:
        fake_runs("two", seed=1)
        command = [sys.executable, "-m", "frepo.cli", "ingest", "--db", database, "--runs-dir", fake_runs.runs_dir]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
        assert names(connection) == ["one"], "as it was then"
        with frepo.connect(str(database)) as later:
            assert names(later) == ["one", "two"]
        cursor = connection.cursor()
        assert names(cursor) == ["one"], "the first is as usable as before"


def test_every_table_and_view_is_in_the_copy(fake_runs, tmp_path):
    database = tmp_path / 'a "copy" of x.y.duckdb'
    fake_runs()
    ingest(database, fake_runs.runs_dir)
    listing = (
        "SELECT table_name FROM duckdb_tables() UNION ALL "
        "SELECT view_name FROM duckdb_views() WHERE NOT internal ORDER BY 1"
    )
    with duckdb.connect(str(database), read_only=True) as original, frepo.connect(database) as copy:
        assert copy.execute(listing).fetchall() == original.execute(listing).fetchall()
        for (name,) in original.execute(listing).fetchall():
            rows = f"SELECT * FROM {name} ORDER BY ALL"
            assert copy.execute(rows).fetchall() == original.execute(rows).fetchall(), name


def test_results_cannot_be_changed_and_nothing_is_left_behind(fake_runs, tmp_path, monkeypatch):
    place = tmp_path / "temporary"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    database = tmp_path / "results.duckdb"
    fake_runs()
    ingest(database, fake_runs.runs_dir)
    with frepo.connect(database) as connection:
        for change in ("DELETE FROM runs", "DROP VIEW leaderboard", "CREATE TABLE x (a INTEGER)"):
            with pytest.raises(duckdb.Error, match="read-only"):
                connection.execute(change)
        connection.execute(f"COPY accuracy_table TO '{tmp_path}/accuracy.parquet'")
        connection.execute("CREATE TEMP TABLE scratch AS SELECT 1 AS a")
        assert connection.execute("FROM scratch").fetchall() == [(1,)]
        assert not list(place.iterdir())
    assert (tmp_path / "accuracy.parquet").exists()


def test_no_database_and_somebody_elses_are_named(tmp_path):
    with pytest.raises(frepo.FrepoError, match="there is no database"):
        frepo.connect(tmp_path / "none.duckdb")
    with duckdb.connect(str(tmp_path / "other.duckdb")) as other:
        other.execute("CREATE TABLE t (a INTEGER)")
    with pytest.raises(frepo.FrepoError, match="another program"):
        frepo.connect(tmp_path / "other.duckdb")

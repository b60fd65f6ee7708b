"""Runs that differ in their seed only, and their sweeps."""

import json
from pathlib import Path

import pytest

from frepo.rundir import record
from frepo.store.ingest import ingest
from frepo.store.query import query


@pytest.fixture
def db(tmp_path) -> Path:
    return tmp_path / "results.duckdb"


def test_a_run_says_which_sweep_it_belongs_to(fake_runs, db):
    fake_runs("alone")
    fake_runs("grid-1", seed=1, sweep="grid", swept={"seed": 1, "distill.ipc": 1, "case": "digits"})
    ingest(db, fake_runs.runs_dir)
    rows = query(db, "SELECT name, sweep, swept FROM runs ORDER BY name").rows
    assert [(name, sweep, json.loads(swept)) for name, sweep, swept in rows] == [
        ("alone", None, {}),
        ("grid-1", "grid", {"seed": 1, "distill.ipc": 1, "case": "digits"}),
    ]


def test_records_written_before_there_were_sweeps_are_read(fake_runs, db):
    _, run = fake_runs("old")
    (path,) = record.run_files(fake_runs.runs_dir / "old")
    old = {key: value for key, value in json.loads(path.read_text()).items() if key not in ("sweep", "swept")}
    path.write_text(json.dumps(old))
    assert record.read_run(path) == run
    assert ingest(db, fake_runs.runs_dir).problems == ()


def test_runs_that_differ_in_name_and_seed_share_an_experiment(fake_runs, db):
    fake_runs("one", sweep="grid", swept={"seed": 0})
    fake_runs("two", seed=1)
    fake_runs("three", seed=1, ipc=2)
    ingest(db, fake_runs.runs_dir)
    found = dict(query(db, "SELECT name, experiment FROM runs").rows)
    assert found["one"] == found["two"] != found["three"]

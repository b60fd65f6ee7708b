"""Removing runs: what no other run needs goes with them, all of it, whatever happens meanwhile."""

import shutil
import subprocess
import sys

import pytest

from frepo.errors import FrepoError
from frepo.rundir import removal as removing
from frepo.rundir.layout import STAGES, link_stages, set_aside, stage_directory, take_over
from frepo.rundir.lease import held
from frepo.rundir.removal import plan_removal, remove
from frepo.store.ingest import ingest
from frepo.store.query import query

MORE = ({"type": "evaluate", "num_models": 3},)


@pytest.fixture
def runs(fake_runs):
    """Runs `one` and `other`, which share the distilled images, and `alone`; return (directory, plans by name)."""
    plans = {
        "one": fake_runs("one")[0],
        "other": fake_runs("other", application=MORE)[0],
        "alone": fake_runs("alone", seed=1)[0],
    }
    for name, plan in plans.items():
        named = type(plan)(plan.spec.model_copy(update={"name": name}), plan.stages)
        take_over(named, fake_runs.runs_dir)
        for stage in plan.stages:
            shutil.rmtree(fake_runs.runs_dir / name / f".{stage.directory}.replaced-1", ignore_errors=True)
        link_stages(named, fake_runs.runs_dir)
    return fake_runs.runs_dir, plans


def places(runs_dir):
    return {path.name for path in (runs_dir / STAGES).iterdir()}


def of(*plans):
    return {stage.place for plan in plans for stage in plan.stages}


def names(runs_dir):
    return sorted(path.name for path in runs_dir.iterdir() if not path.name.startswith("."))


def test_what_another_run_needs_stays(runs):
    runs_dir, plans = runs
    shared = of(plans["one"]) & of(plans["other"])
    assert len(shared) == 1
    found = plan_removal(runs_dir, ["one"])
    assert {path.name for path in found.freed} == of(plans["one"]) - shared
    assert [(path.name, user) for path, user in found.kept] == [(*shared, "other")]
    files = [path for directory in (*found.runs, *found.freed) for path in directory.glob("**/*")]
    assert found.size == sum(path.stat().st_size for path in files if path.is_file()) > 1000
    remove(found)
    assert names(runs_dir) == ["alone", "other"]
    assert places(runs_dir) == of(plans["other"], plans["alone"])
    remove(plan_removal(runs_dir, ["other"]))
    assert places(runs_dir) == of(plans["alone"])


def test_runs_removed_together_keep_nothing_for_each_other(runs):
    runs_dir, plans = runs
    found = plan_removal(runs_dir, ["o*"])
    assert [path.name for path in found.runs] == ["one", "other"]
    assert found.kept == ()
    remove(found)
    assert names(runs_dir) == ["alone"]
    assert places(runs_dir) == of(plans["alone"])


def test_what_was_set_aside_goes_with_its_place(runs):
    runs_dir, plans = runs
    first, last = plans["alone"].stages[0], plans["alone"].stages[-1]
    set_aside(stage_directory(last, runs_dir))  # by --fresh, and not computed since
    (runs_dir / STAGES / f".{first.place}.replaced-2").mkdir()
    (runs_dir / "alone" / f".{first.directory}.replaced-1").mkdir()  # of an earlier version
    remove(plan_removal(runs_dir, ["alone"]))
    assert places(runs_dir) == of(plans["one"], plans["other"])
    assert names(runs_dir) == ["one", "other"]


def test_a_run_of_an_earlier_version_goes_whole(fake_runs):
    plan, _ = fake_runs("small")
    fake_runs("other", seed=1)
    assert plan.stages
    remove(plan_removal(fake_runs.runs_dir, ["small"]))
    assert names(fake_runs.runs_dir) == ["other"]


@pytest.mark.parametrize(
    ("pattern", "hint"),
    [
        ("othr", "there is no run `othr` in .*, did you mean `other`\\?"),
        ("xyz*", "there is no run `xyz\\*` in .*; `frepo runs` lists them"),
        (".stages", "there is no run `.stages` in "),
        ("..", "there is no run `..` in "),
    ],
)
def test_a_name_that_no_run_has_removes_nothing(runs, pattern, hint):
    runs_dir, plans = runs
    with pytest.raises(FrepoError, match=hint):
        plan_removal(runs_dir, ["one", pattern])
    assert places(runs_dir) == of(*plans.values())


def test_nothing_at_work_is_removed(runs):
    runs_dir, plans = runs
    stage = plans["alone"].stages[0]
    before = plan_removal(runs_dir, ["alone"])
    with held(stage_directory(stage, runs_dir), 0.0):
        with pytest.raises(FrepoError, match=r"is at work: process \d+ on .*; stop it first \(frepo cancel\)"):
            plan_removal(runs_dir, ["a*"])
        with pytest.raises(FrepoError, match="another process is working on it"):  # one that began just now
            remove(before)
        assert (stage_directory(stage, runs_dir) / "stage.json").exists()
        remove(plan_removal(runs_dir, ["one"]))  # is no concern of that process
    remove(plan_removal(runs_dir, ["alone"]))
    assert places(runs_dir) == of(plans["other"])


def test_a_kill_at_any_moment_leaves_what_the_same_again_removes(runs, monkeypatch):
    runs_dir, plans = runs
    rmtree, killed = shutil.rmtree, []

    class Killed(BaseException):
        pass

    def broken(path):
        """End before the first removal of each directory, or in the middle of that of a stage."""
        if path not in killed:
            killed.append(path)
            if path.parent.name == STAGES:
                (path / "stage.json").unlink(missing_ok=True)
            raise Killed
        rmtree(path)

    monkeypatch.setattr(removing.shutil, "rmtree", broken)
    while True:
        try:
            remove(plan_removal(runs_dir, ["alone"]))
            break
        except Killed:
            assert "alone" in names(runs_dir)
    assert len(killed) == len(plans["alone"].stages) + 1
    assert names(runs_dir) == ["one", "other"]
    assert places(runs_dir) == of(plans["one"], plans["other"])


def test_a_directory_that_cannot_be_removed_is_named(runs, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    runs_dir, _ = runs
    monkeypatch.setattr(removing.shutil, "rmtree", refuse)
    with pytest.raises(FrepoError, match="cannot be removed: Permission denied"):
        remove(plan_removal(runs_dir, ["alone"]))


def frepo(directory, *arguments):
    command = [sys.executable, "-m", "frepo.cli", *arguments]
    return subprocess.run(command, cwd=directory, capture_output=True, text=True, check=True).stdout


def test_the_command_says_first_what_it_would_do_and_the_database_loses_the_run(runs):
    runs_dir, plans = runs
    database = runs_dir.parent / "results.duckdb"
    ingest(database, runs_dir)
    arguments = ("rm", "one", "--runs-dir", str(runs_dir), "--db", str(database))
    said = frepo(runs_dir.parent, *arguments, "--dry-run").splitlines()
    freed = of(plans["one"]) - of(plans["other"])
    (shared,) = of(plans["one"]) & of(plans["other"])
    assert said[:-1] == [
        f"would remove {runs_dir / 'one'}",
        *(f"would remove {runs_dir / STAGES / place}" for place in sorted(freed)),
        f"would keep {runs_dir / STAGES / shared}: other needs it",
    ]
    assert said[-1].endswith(" MB would be freed")
    assert places(runs_dir) == of(*plans.values())
    assert names(runs_dir) == ["alone", "one", "other"]
    again = frepo(runs_dir.parent, *arguments).splitlines()
    assert again[:-1] == [line.replace("would remove", "removed").replace("would keep", "kept") for line in said[:-1]]
    found = query(database, "SELECT name FROM runs ORDER BY name").rows
    assert [name for (name,) in found] == ["alone", "other"]
    assert query(database, "SELECT count(*) FROM accuracy_table WHERE name = 'one'").rows == ((0,),)

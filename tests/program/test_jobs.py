"""Many experiments in several processes: the same bits, whatever is killed; how far they are, stopping, removing."""

import json
import os
import re
import signal
import time
from pathlib import Path

import numpy as np
import pytest

pytestmark = [
    pytest.mark.usefixtures("commands_compile_quickly"),
    pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="two processes need two cores"),
]

COMMAND = ("run", "grid.toml", "--log-every", 5, "--checkpoint-every", 3)
AXES = 'seed = [0, 1]\n"pool.max_online_updates" = [5, 6]'


def write_grid(workplace, axes=AXES):
    path = workplace.spec(
        "grid",
        architecture="width = 4\ndepth = 2",
        distill='method = "frepo"\nipc = 1\nsteps = 30\nbatch_size = 64',
        pool="size = 2",
        application='type = "evaluate"\nnum_models = 1\nsteps = 10\nwarmup_steps = 5\naugmentation = []',
    )
    path.write_text(f"{path.read_text()}\n[sweep]\n{axes}\n")


def records(workplace):
    """Return the records of all stages that have one, by their places."""
    paths = (workplace.path / "runs" / ".stages").glob("[!.]*/stage.json")
    return {path.parent.name: json.loads(path.read_text()) for path in paths}


def count(workplace, status):
    return sum(record["status"] == status for record in records(workplace).values())


def workers_of(process):
    return [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]


@pytest.fixture
def must_be_gone(lives):
    """Return what waits until there is none of some processes."""

    def must_be_gone(pids, seconds=30):
        deadline = time.monotonic() + seconds
        while any(map(lives, pids)):
            assert time.monotonic() < deadline, pids
            time.sleep(0.05)

    return must_be_gone


@pytest.fixture(scope="module")
def straight(make_workplace, commands_compile_quickly):
    """A finished run of all experiments in one process."""
    workplace = make_workplace("straight")
    write_grid(workplace)
    workplace.frepo(*COMMAND)
    assert len(workplace.results()) == 16  # four times distilled.npz, evaluations.jsonl, and metrics.jsonl of both
    return workplace


@pytest.fixture
def grid(workplace, straight):
    """The same experiments to be run; their programs are compiled."""
    write_grid(workplace)
    return workplace


def test_processes_side_by_side_give_the_bits_of_one(grid, straight):
    out, err = grid.frepo(*COMMAND, "--jobs", 2)
    assert grid.results() == straight.results()
    assert "2 processes work on 8 stages" in err
    logs = list((grid.path / "runs" / ".jobs").glob("*/logs/*.log"))
    assert sorted(log.name for log in logs) == ["0.log", "1.log"]
    assert all("starts on" in log.read_text() for log in logs)
    assert out == straight.frepo(*COMMAND)[0]
    sql = "SELECT name, status, top1_mean FROM runs JOIN accuracy_table USING (name) ORDER BY name"
    assert grid.rows(sql) == straight.rows(sql)
    assert len(grid.rows(sql)) == 4
    assert all(len(record["attempts"]) == 1 for record in records(grid).values())
    out, err = grid.frepo(*COMMAND, "--jobs", 2)
    assert "finished already" in err
    assert len(list((grid.path / "runs" / ".jobs").iterdir())) == 1


def test_more_processes_than_the_machine_has_room_for_are_refused(workplace):
    write_grid(workplace)
    _, err = workplace.frepo(*COMMAND, "--jobs", 1000, code=2)
    assert re.search(r"--jobs 1000: there (are \d+|is 1) (core|GPU)s?, and each process needs one of its own", err)
    assert not (workplace.path / "runs").exists()


KILLS = (("worker", 1), ("parent", 2))
MANY_KILLS = (*((victim, after) for after in range(5) for victim in ("worker", "parent")), ("gently", 5))


def test_killed_at_any_moment_it_ends_in_the_same_bits_and_computes_nothing_twice(grid, straight, must_be_gone, long):
    random, done = np.random.default_rng(0), {}
    for victim, after in MANY_KILLS if long else KILLS:
        process = grid.start(*COMMAND, "--jobs", 2)
        grid.wait_until(lambda after=after: count(grid, "done") >= after and count(grid, "running"), process)
        time.sleep(random.uniform(0, 0.3))
        workers = workers_of(process)
        if victim == "worker" and workers:  # the others go on, and take its stage over
            os.kill(workers[0], signal.SIGKILL)
            before = count(grid, "done")
            grid.wait_until(lambda before=before: count(grid, "done") > before, process)
        process.send_signal(signal.SIGTERM if victim == "gently" else signal.SIGKILL)
        process.communicate(timeout=120)
        must_be_gone(workers)
        if victim == "gently":
            assert process.returncode == 75
        for place, record in records(grid).items():
            if record["status"] == "done":
                assert done.setdefault(place, record) == record
    assert 2 <= len(done) < 8
    grid.frepo(*COMMAND, "--jobs", 2)
    assert grid.results() == straight.results()
    assert count(grid, "done") == 8
    assert {place: record for place, record in records(grid).items() if place in done} == done


def test_work_in_progress_is_shown_and_stopped_from_elsewhere(grid, lives):
    long = ("--set", "distill.steps=100000")
    process = grid.start(*COMMAND, "--jobs", 2, *long)
    stages = grid.path / "runs" / ".stages"
    grid.wait_until(lambda: len(list(stages.glob("*/state/*.state"))) >= 2 and count(grid, "running") == 2, process)
    workers = workers_of(process)
    found = json.loads(grid.frepo("status", "grid.toml", *long, "--json")[0])
    assert [entry["status"] for entry in found if entry["stage"].startswith("evaluate")] == ["waiting"] * 4
    running = [entry for entry in found if entry["status"] == "running"]
    assert {entry["where"].split()[1] for entry in running} == set(map(str, workers))
    assert all(0 < entry["step"] < entry["steps"] == 100_000 for entry in running)
    assert all("starts on" in Path(entry["log"]).read_text() for entry in running)
    out, _ = grid.frepo("status")
    assert re.search(rf"process ({'|'.join(map(str, workers))}) on ", out)
    assert "8 stages: 2 running, 6 waiting" in out
    out, _ = grid.frepo("cancel", "grid.toml", *long)
    assert f"asked process {process.pid} on " in out
    _, err = process.communicate(timeout=120)
    assert process.returncode == 75, err
    assert "run the same command again to go on" in err
    assert not any(map(lives, workers))
    assert grid.frepo("cancel", "grid.toml", *long)[0] == "nothing is at work\n"
    assert "8 stages: 2 stopped, 6 waiting" in grid.frepo("status", "grid.toml", *long)[0]
    assert len(list(stages.glob("*/state/*.state"))) >= 2
    assert {row["status"] for row in grid.rows("SELECT status FROM runs")} >= {"stopped"}


def test_an_experiment_that_fails_stops_only_itself(workplace):
    write_grid(workplace, '"distill.reg" = [0.1, 1e-12]')
    out, err = workplace.frepo(*COMMAND, "--jobs", 2, "--set", "distill.ipc=20", code=1)
    good, bad = "grid-reg0.1", "grid-reg1e-12"
    assert "1 of 2 specs failed, the others are done:" in err
    assert re.search(rf"^  grid\.toml \({bad}\): frepo-.*diverged", err, re.MULTILINE)
    assert "top-1" in out
    found = {row["name"]: row["status"] for row in workplace.rows("SELECT name, status FROM runs")}
    assert found == {good: "done", bad: "failed"}
    (failed,) = [entry for entry in json.loads(workplace.frepo("status", "--json")[0]) if entry["status"] == "failed"]
    assert "diverged" in failed["error"]
    assert "diverged" in Path(failed["log"]).read_text()
    assert "4 stages: 1 failed, 1 waiting, 2 done" in workplace.frepo("status")[0]
    removed, _ = workplace.frepo("rm", bad)
    assert removed.count("removed ") == 2
    assert [row["name"] for row in workplace.rows("SELECT name FROM runs")] == [good]
    assert len(list((workplace.path / "runs" / ".stages").iterdir())) == 2

"""Jobs and the processes that work on them: handed over whole, divided, found by cancel, and never left behind."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from frepo.errors import FrepoError, Interrupted, SpecError, SpecsFailedError
from frepo.execute import local, walk
from frepo.execute.cancel import cancel
from frepo.execute.graph import Graph
from frepo.execute.job import make_job, read_job
from frepo.execute.local import GPUS, shares
from frepo.execute.several import Failures
from frepo.execute.worker import _stop_with
from frepo.plan import compile_plan
from frepo.rundir.directory import StageBusyError
from frepo.rundir.layout import stage_directory
from frepo.rundir.lease import Holder, LostError, held
from frepo.rundir.record import StageRecord, write_record
from frepo.runtime import Cadence, RuntimeOptions
from frepo.spec import load_specs

SPECS = Path(__file__).parents[2] / "specs"
SWEEP = """
name = "grid"
[dataset]
name = "digits"
[distill]
method = "random"
ipc = 1
[[application]]
type = "evaluate"
[sweep]
seed = [0, 1]
"""


@pytest.fixture
def specs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "base.toml").write_text(SWEEP)
    (tmp_path / "grid.toml").write_text('extends = "base.toml"\n')
    return load_specs(Path("grid.toml"), ("distill.ipc=2",))


@pytest.fixture
def options(tmp_path):
    return RuntimeOptions(
        runs_dir=Path("runs"), data_dir=Path("data"), checkpoint_every=Cadence(steps=3), log_every=5, tensorboard=True
    )


@pytest.fixture
def graph(specs):
    return Graph(specs)


def test_a_job_is_read_as_it_was_written(specs, options, tmp_path):
    job = make_job(specs, options)
    assert read_job(job.file) == job
    assert job.specs == tuple(specs)
    assert len({id(loaded.document) for loaded in read_job(job.file).specs}) == 1
    assert job.here == tmp_path
    assert job.options == replace(options, runs_dir=tmp_path / "runs", data_dir=tmp_path / "data", database=None)


def test_every_spec_of_the_project_can_be_handed_over(options, tmp_path):
    specs = [loaded for path in sorted(SPECS.rglob("*.toml")) for loaded in load_specs(path)]
    handed = read_job(make_job(specs, replace(options, runs_dir=tmp_path)).file).specs
    assert handed == tuple(specs)
    assert [compile_plan(one.spec).fingerprint for one in handed] == [
        compile_plan(one.spec).fingerprint for one in specs
    ]
    assert {loaded.spec.distill.method for loaded in specs} >= {"frepo", "dm"}


@pytest.mark.parametrize("content", [None, "", "{}", '{"documents": 1}'])
def test_a_job_that_is_damaged_is_named(specs, options, content):
    job = make_job(specs, options)
    job.file.unlink() if content is None else job.file.write_text(content)
    with pytest.raises(FrepoError, match=r"job\.json (cannot be read|is damaged)"):
        read_job(job.file)


def test_cores_and_gpus_are_divided_among_processes(monkeypatch):
    monkeypatch.setenv(GPUS, "")
    monkeypatch.setattr(local.os, "sched_getaffinity", lambda _: {0, 2, 3, 5, 8})
    assert shares(2) == [{"cores": "0,3,8"}, {"cores": "2,5"}]
    with pytest.raises(SpecError, match="--jobs 6: there are 5 cores"):
        shares(6)
    monkeypatch.setenv(GPUS, "1,3")
    assert shares(2) == [{GPUS: "1"}, {GPUS: "3"}]
    with pytest.raises(SpecError, match="--jobs 3: there are 2 GPUs"):
        shares(3)


def test_cancel_asks_commands_before_their_processes_and_nobody_else(specs, options, graph, hold):
    runs_dir = options.runs_dir
    one, other = [spec for spec in specs if spec.spec.seed == 0], [spec for spec in specs if spec.spec.seed == 1]
    first, *_, last = graph.stages
    assert cancel(specs, runs_dir) == ([], [], [])
    between_stages = hold(make_job(one, options).directory)
    beside = hold(make_job(other, options).directory)
    at_work = hold(stage_directory(first, runs_dir))
    stranger = hold(stage_directory(last, runs_dir))
    asked, elsewhere, jobs = cancel(one, runs_dir)
    assert [holder.pid for holder in asked] == [between_stages.pid, at_work.pid]
    assert elsewhere == jobs == []
    assert [process.wait(timeout=30) for process in (between_stages, at_work)] == [-signal.SIGTERM] * 2
    assert beside.poll() is stranger.poll() is None


def test_cancel_names_processes_of_other_hosts(specs, options, graph):
    directory = stage_directory(graph.stages[0], options.runs_dir)
    directory.mkdir(parents=True)
    holder = Holder(host="elsewhere", kernel="another", pid=os.getpid(), started="1", seconds=60.0, token="a")
    (directory / ".lease-1").write_text(json.dumps(vars(holder)))
    assert cancel(specs, options.runs_dir) == ([], [holder], [])


PARENT = """
import os, subprocess, sys
child = [sys.executable, "-c", sys.argv[1], str(os.getpid())]
print(subprocess.Popen(child, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL).pid, flush=True)
sys.stdin.read()
"""
CHILD = """
import sys, threading, time
from frepo.execute.worker import _stop_with
threading.Thread(target=_stop_with, args=(int(sys.argv[1]),), daemon=True).start()
time.sleep(600)
"""


def test_a_process_ends_with_the_one_that_started_it(lives):
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        child = int(parent.stdout.readline())
        assert lives(child)
        parent.kill()
    deadline = time.monotonic() + 60
    while lives(child):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_process_that_starts_after_its_parent_has_died_ends_at_once(monkeypatch):
    sent = []
    monkeypatch.setattr(os, "kill", lambda *call: sent.append(call))
    _stop_with(os.getppid() + 1, sleep=lambda _: pytest.fail("waits"))
    assert sent == [(os.getpid(), signal.SIGTERM)]


def finish(stage, runs_dir):
    """Leave a stage as one that is done."""
    directory = stage_directory(stage, runs_dir)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / stage.kind.result).write_text("{}\n")
    write_record(
        directory / "stage.json",
        StageRecord(fingerprint=stage.fingerprint, identity=stage.identity, label=stage.label, status="done"),
    )


class Walker:
    """Walks a graph; `on` says for a stage what happens instead of its being finished, the first time."""

    def __init__(self, graph, runs_dir, failures, monkeypatch):
        self._graph, self._runs_dir, self._failures = graph, runs_dir, failures
        self.on, self.worked, self.said, self.slept = {}, [], [], []
        monkeypatch.setattr(walk.time, "sleep", self._sleep)

    def _sleep(self, seconds):
        self.slept.append(seconds)
        assert len(self.slept) < 20

    def __call__(self):
        walk.walk(
            self._graph.stages, self._runs_dir, self._work_on, lambda *said: self.said.append(said), self._failures
        )
        return self.worked

    def _work_on(self, stage):
        self.worked.append(stage)
        event = self.on.pop(stage, None)
        if event:
            raise event
        finish(stage, self._runs_dir)


@pytest.fixture
def walker(graph, options, monkeypatch):
    return Walker(graph, options.runs_dir, Failures(graph, go_on=True), monkeypatch)


def test_stages_are_walked_in_order_and_what_is_done_is_left_out(graph, options, walker):
    chosen, trained, other, other_trained = graph.stages
    finish(chosen, options.runs_dir)
    assert walker() == [trained, other, other_trained]
    assert walker.slept == []


@pytest.mark.parametrize("error", [StageBusyError("busy"), LostError("lost")])
def test_a_stage_of_another_process_is_left_for_later(graph, walker, error):
    chosen, trained, other, other_trained = graph.stages
    walker.on = {chosen: error}
    assert walker() == [chosen, other, chosen, trained, other_trained]
    assert walker.slept == []


def test_a_stage_waits_for_one_of_another_process_that_it_needs(graph, options, walker, monkeypatch):
    chosen, trained, other, other_trained = graph.stages
    for stage in (other, other_trained):
        finish(stage, options.runs_dir)
    walker.on = {chosen: StageBusyError("busy")}
    monkeypatch.setattr(walk.time, "sleep", lambda _: finish(chosen, options.runs_dir))
    assert walker() == [chosen, trained]
    assert [stage for stage, _ in walker.said] == [chosen]


def test_a_failure_stops_what_depends_on_it_only(graph, walker):
    chosen, _, other, other_trained = graph.stages
    walker.on = {chosen: OSError("disk full")}
    assert walker() == [chosen, other, other_trained]


def test_a_signal_stops_all(graph, walker):
    walker.on = {graph.stages[0]: Interrupted("stopped")}
    with pytest.raises(Interrupted):
        walker()
    assert len(walker.worked) == 1


def test_a_single_experiment_fails_as_itself(specs, options, monkeypatch):
    graph = Graph(specs[:1])
    walker = Walker(graph, options.runs_dir, Failures(graph, go_on=False), monkeypatch)
    walker.on = {graph.stages[0]: OSError("disk full")}
    with pytest.raises(FrepoError, match="disk full; what was saved before is intact"):
        walker()
    assert len(walker.worked) == 1


def test_processes_of_a_job_tell_each_other_what_has_failed(specs, options, graph, capsys):
    job = make_job(specs, options)
    here, there = (Failures(graph, go_on=True, job=read_job(job.file)) for _ in range(2))
    chosen, trained, other, _ = graph.stages
    assert all(map(there.wanted, graph.stages))
    with here.of_stage(chosen):
        raise FrepoError("it broke\nbadly")
    assert there.wanted(trained)  # as far as it knows
    there.learn()
    assert not there.wanted(trained)  # which needs it
    assert there.wanted(other)
    assert [experiment.name for experiment in there.left()] == ["grid-seed1"]
    with pytest.raises(SpecsFailedError) as caught:
        there.raise_any(["grid-seed1-x"])
    assert str(caught.value).splitlines() == [
        "1 of 2 specs failed, the others are done:",
        "  grid.toml (grid-seed0): it broke",
    ]
    assert capsys.readouterr().err.count("it broke") == 2  # once in each process


def test_a_failure_before_any_stage_is_no_matter_to_other_processes(specs, options, graph):
    job = make_job(specs, options)
    here, there = (Failures(graph, go_on=True, job=job) for _ in range(2))
    with here.of(graph.experiments[0]):
        raise FrepoError("it broke")
    there.learn()
    assert not here.wanted(graph.stages[0])
    assert there.wanted(graph.stages[0])


def test_a_command_of_several_processes_holds_its_job(specs, options):
    job = make_job(specs, options)
    with held(job.directory, 0.0):
        assert job.log("0").parent.is_dir()
        assert job.failure(Graph(specs).stages[0].place) is None

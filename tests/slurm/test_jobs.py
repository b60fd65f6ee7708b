"""Jobs of a real Slurm: of stages that only count, and of a sweep; one file, so that one Slurm is started."""

import json
import os
import signal
import sys
from pathlib import Path

import pytest

from frepo.errors import FrepoError
from frepo.execute.slurm.arrays import StageJob
from frepo.execute.slurm.queue import cancel, log_of, queued
from frepo.execute.slurm.settings import Settings
from frepo.execute.slurm.submit import submit

COUNTING = Path(__file__).with_name("counting.py")


class Stages:
    """Stages that count, below a directory of their own."""

    def __init__(self, directory):
        self.directory = directory
        self.jobs = directory / "jobs"

    def stage(self, key, end, *needs):
        return StageJob(key, "count", needs, (sys.executable, str(COUNTING), str(self.directory / key), str(end)))

    def count(self, key):
        path = self.directory / key
        return int(path.read_text()) if path.exists() else 0

    def starts(self, key):
        """Return from where it counted at each start."""
        path = (self.directory / key).with_suffix(".starts")
        return [int(line) for line in path.read_text().split()] if path.exists() else []

    def submit(self, *stages, **settings):
        job_directory = self.jobs / str(len(list(self.jobs.glob("*"))))
        job_directory.mkdir(parents=True)
        return submit(stages, {}, Settings(**{"partition": "low", "notice": 30, **settings}), job_directory)

    def states(self):
        return {key: job.state for key, job in queued(self.jobs).items()}


@pytest.fixture
def stages(slurm, tmp_path):
    yield Stages(tmp_path)
    cancel([job.job_id for job in queued(tmp_path / "jobs").values()])
    slurm.wait_until(lambda: not slurm.command("squeue", "--noheader"), "an empty queue")


def test_stages_run_after_those_that_they_need(slurm, stages):
    ids = stages.submit(stages.stage("a", 5), stages.stage("b", 20), stages.stage("c", 5, "a"))
    assert ids["a"].partition("_")[0] == ids["b"].partition("_")[0] != ids["c"]
    slurm.wait_until(lambda: set(stages.states()) < {"a", "b", "c"}, "a stage that is done")
    assert stages.starts("c") == []
    slurm.wait_until(lambda: not stages.states(), "all stages")
    assert [stages.count(key) for key in "abc"] == [5, 20, 5]


def test_a_stage_stopped_without_the_signal_of_preemption_goes_on_too(slurm, stages):
    ids = stages.submit(stages.stage("a", 60))
    slurm.wait_until(lambda: stages.starts("a"), "the stage to start")
    slurm.command("scancel", "--signal=TERM", ids["a"])
    slurm.wait_until(lambda: not stages.states(), "the stage")
    assert stages.count("a") == 60
    assert len(stages.starts("a")) == 2


def test_a_preempted_stage_makes_way_and_goes_on_from_its_state(slurm, stages):
    stages.submit(stages.stage("a", 200))
    slurm.wait_until(lambda: stages.starts("a"), "the stage to start")
    slurm.command("sbatch", "--partition=high", "--exclusive", "--output=/dev/null", "--wrap=sleep 1")
    slurm.wait_until(lambda: not stages.states(), "the stage")
    assert stages.count("a") == 200
    first, second = stages.starts("a")
    assert first == 0 < second < 200


def test_a_stage_that_runs_into_its_limit_too_often_has_failed(slurm, stages):
    """Slurm's own notices would come after minutes: here it sends the signal when it is told to."""
    ids = stages.submit(stages.stage("a", 10_000), time=9, max_timeouts=1)
    for start in (1, 2):
        slurm.wait_until(lambda start=start: len(stages.starts("a")) == start, f"start {start}")
        slurm.command("scancel", "--signal=USR2", ids["a"])
    slurm.wait_until(lambda: not stages.states(), "an empty queue")
    assert 0 < stages.count("a") < 10_000
    assert len(stages.starts("a")) == 2
    assert "timed-out too many times" in log_of(stages.jobs / "0", ids["a"]).read_text()


def test_a_cancelled_stage_saves_its_state_and_leaves_the_queue(slurm, stages):
    ids = stages.submit(stages.stage("a", 1000))
    slurm.wait_until(lambda: stages.starts("a"), "the stage to start")
    assert stages.states() == {"a": "RUNNING"}
    cancel(ids.values())
    slurm.wait_until(lambda: not stages.states(), "an empty queue")
    assert 0 < stages.count("a") < 1000


def test_a_stage_that_fails_holds_up_no_other(slurm, stages):
    broken = StageJob("broken", "count", (), (sys.executable, "-c", "raise SystemExit('no such luck')"))
    ids = stages.submit(broken, stages.stage("a", 1), stages.stage("b", 1, "a"))
    slurm.wait_until(lambda: not stages.states(), "all stages")
    assert stages.count("b") == 1
    log = log_of(stages.jobs / "0", ids["broken"]).read_text()
    assert "no such luck" in log
    assert "Traceback" not in log


def test_what_sbatch_refuses_is_said_in_its_words(stages):
    with pytest.raises(FrepoError, match=r"sbatch refused frepo-count \(1 jobs\).*invalid partition"):
        stages.submit(stages.stage("a", 1), partition="none")


ROOMY = 'partition = "low"\ntime = 60\n'
TIGHT = 'partition = "low"\ntime = 1\nnotice = 15\n'
"""The notice may come up to a minute before what is asked for, so at any time after the start."""


class Sweep:
    """Some seeds, each a stage that learns images and one that evaluates them."""

    def __init__(self, workplace, wait_until, seeds):
        self.workplace, self.wait_until = workplace, wait_until
        self.path = workplace.path / "runs"
        self.spec = workplace.spec(
            sweep=f"seed = {list(seeds)}",
            distill='method = "frepo"\nipc = 1\nsteps = 300\nbatch_size = 128\nlearning_rate = 0.01',
            application='type = "evaluate"\nnum_models = 2\nsteps = 40\nwarmup_steps = 10',
        )

    def command(self, settings, *arguments):
        """Return the command that runs the sweep on the cluster."""
        config = self.workplace.path / "slurm.toml"
        config.write_text(settings)
        every = ("--checkpoint-every", 5, "--log-every", 10)
        return ("run", self.spec, *every, "--executor", "slurm", "--executor-config", config, *arguments)

    def learning(self):
        """Return the process of each stage that learns images and has saved its state, by its place."""
        found = {}
        for lease in (self.path / ".stages").glob("distill-*/.lease-*"):
            try:
                process = json.loads(lease.read_text())["pid"]
                if Path(f"/proc/{process}").exists() and json.loads((lease.parent / "stage.json").read_text())["step"]:
                    found[lease.parent.name] = process
            except (FileNotFoundError, ValueError):  # given back just now, or being made
                continue
        return found

    def stopped(self, place):
        """Wait until a stage learns and stop its process, so that it is not done before something happens to it."""
        self.wait_until(lambda: place in self.learning(), f"{place} to learn", 120)
        process = self.learning()[place]
        os.kill(process, signal.SIGSTOP)
        return process

    def logs(self):
        return "".join(path.read_text() for path in (self.path / ".jobs").glob("*/slurm/*_log.out"))

    def notices(self):
        """Return how often a job was told that its time is nearly up; one that has just started saves nothing."""
        return self.logs().count("this job is timed-out")

    def times_submitted(self, place):
        files = (self.path / ".jobs").glob("*/slurm.json")
        return sum(place in json.loads(file.read_text())["jobs"] for file in files)

    def first_steps(self, place):
        attempts = json.loads((self.path / ".stages" / place / "stage.json").read_text())["attempts"]
        return [attempt["first_step"] for attempt in attempts]


@pytest.fixture
def make_sweep(slurm, own_workplace, commands_compile_quickly):
    yield lambda *seeds: Sweep(own_workplace, slurm.wait_until, seeds)
    slurm.command("scancel", "--user=root")


def test_status_shows_the_jobs_of_stages_and_cancel_ends_them(make_sweep, slurm):
    sweep = make_sweep(0)
    frepo = sweep.workplace.frepo
    frepo(*sweep.command(ROOMY))
    sweep.wait_until(sweep.learning, "a stage to learn", 120)
    learns, evaluates = json.loads(frepo("status", sweep.spec, "--json")[0])
    assert (learns["status"], evaluates["status"]) == ("running", "queued")
    assert "Slurm job" in learns["where"]
    assert "starts on" in Path(learns["log"]).read_text()
    assert "(pending, Dependency)" in evaluates["where"]

    (place,) = sweep.learning()
    out, _ = frepo("cancel", sweep.spec)
    assert out.count("cancelled Slurm job") == 2
    sweep.wait_until(lambda: not slurm.command("squeue", "--noheader"), "an empty queue")
    assert [entry["status"] for entry in json.loads(frepo("status", "--json")[0])] == ["stopped", "waiting"]
    assert (sweep.path / ".stages" / place / "state").is_dir()
    assert "nothing is at work" in frepo("cancel", sweep.spec)[0]


def test_preempted_killed_and_out_of_time_it_ends_in_the_same_bits(make_sweep, slurm, make_workplace, long):
    if not long:
        pytest.skip("takes minutes: set FREPO_TEST_LONG=1")
    sweep = make_sweep(0, 1)
    _, said = sweep.workplace.frepo(*sweep.command(ROOMY))
    assert "4 stages submitted" in said
    sweep.wait_until(lambda: len(sweep.learning()) == 2, "two stages to learn, one on each core", 120)
    preempted, killed = sweep.learning()
    process = sweep.stopped(preempted)
    os.kill(sweep.stopped(killed), signal.SIGKILL)
    slurm.command("sbatch", "--partition=high", "--exclusive", "--output=/dev/null", "--wrap=sleep 1")
    sweep.wait_until(lambda: "this job is preempted" in sweep.logs(), "a stage to be preempted")
    os.kill(process, signal.SIGCONT)

    _, said = sweep.workplace.frepo(*sweep.command(TIGHT))
    assert "2 stages submitted" in said
    process, before = sweep.stopped(killed), sweep.notices()
    sweep.wait_until(lambda: sweep.notices() > before, "the notice before the time limit")
    os.kill(process, signal.SIGCONT)
    local = make_workplace("local")
    local.frepo("run", sweep.spec, "--log-every", 10)
    out, said = sweep.workplace.frepo(*sweep.command(TIGHT, "--wait"))
    assert "submitted" not in said
    assert "2 seeds" in out

    assert sweep.workplace.results() == local.results()
    assert len(local.results()) == 8
    submitted = [sweep.times_submitted(path.name) for path in sorted((sweep.path / ".stages").glob("*"))]
    assert sorted(submitted) == [1, 1, 2, 2], "only what was killed, and what needs it"
    assert sweep.first_steps(preempted)[-1] > 0
    assert len(sweep.first_steps(killed)) >= 3
    assert sweep.first_steps(killed)[-1] > 0
    assert "Traceback" not in sweep.logs()

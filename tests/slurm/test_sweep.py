"""A sweep on a real Slurm ends in the bits of one on this machine, whatever happens to its jobs."""

import json
import os
import signal
from pathlib import Path

import pytest

RESULTS = ("distilled.npz", "metrics.jsonl", "evaluations.jsonl")
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

    def results(self):
        """Return the bytes of all results by (stage, file)."""
        files = (self.path / ".stages").glob("*/*")
        return {(file.parent.name, file.name): file.read_bytes() for file in files if file.name in RESULTS}

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
def make_sweep(slurm, workplace, quick_compile):
    yield lambda *seeds: Sweep(workplace, slurm.wait_until, seeds)
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


@pytest.mark.skipif("FREPO_TEST_LONG" not in os.environ, reason="takes minutes: set FREPO_TEST_LONG=1")
def test_preempted_killed_and_out_of_time_it_ends_in_the_same_bits(make_sweep, slurm, make_workplace):
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

    assert sweep.results() == Sweep(local, slurm.wait_until, (0, 1)).results()
    assert len(sweep.results()) == 8
    submitted = [sweep.times_submitted(path.name) for path in sorted((sweep.path / ".stages").glob("*"))]
    assert sorted(submitted) == [1, 1, 2, 2], "only what was killed, and what needs it"
    assert sweep.first_steps(preempted)[-1] > 0
    assert len(sweep.first_steps(killed)) >= 3
    assert sweep.first_steps(killed)[-1] > 0
    assert "Traceback" not in sweep.logs()

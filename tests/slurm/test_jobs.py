"""Jobs of a real Slurm: in their order, stopped, cancelled, failed, refused."""

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

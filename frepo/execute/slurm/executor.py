"""Stages computed by jobs of a Slurm cluster."""

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from frepo.errors import FrepoError
from frepo.execute.executor import Work
from frepo.execute.graph import Graph
from frepo.execute.job import JOB_FILE, JOBS, failure_in, make_job
from frepo.execute.slurm.arrays import StageJob
from frepo.execute.slurm.queue import QueuedJob, cancel, queued, queued_if_here
from frepo.execute.slurm.settings import Settings
from frepo.execute.slurm.submit import must_be_possible, scripts, submit
from frepo.execute.watch import Watch
from frepo.plan import Stage
from frepo.progress import note
from frepo.rundir.status import is_done
from frepo.runtime import RuntimeOptions
from frepo.signals import raise_if_stopping, stopping
from frepo.spec import LoadedSpec

LOOK_SECONDS = 1.0
ASK_SECONDS = 10.0
"""Between two questions to Slurm, which answers all users of the cluster."""


class SlurmJobs:
    """A job for each stage, in the queue of a cluster."""

    def __init__(self, settings: Settings, *, wait: bool) -> None:
        """With `wait`, stages are waited for, else left in the queue.

        Raises:
            FrepoError: there is no Slurm here.
        """
        must_be_possible()
        self._settings, self._wait = settings, wait

    def compute(self, work: Work) -> frozenset[str]:
        """Submit the pending stages that are not in the queue; wait for all of them, or leave them there.

        Raises:
            Interrupted: a signal came while they were waited for; they stay in the queue.
            FrepoError: Slurm refused, or a stage failed and nothing is to go on after that.
        """
        jobs = _in_queue(work.options.runs_dir)
        missing = _missing(work.pending, jobs)
        in_vain = {stage.place for stage in missing} & jobs.keys()
        cancel([jobs.pop(place).job_id for place in in_vain])
        if len(missing) < len(work.pending):
            note(f"{len(work.pending) - len(missing)} stages are in the queue already")
        if missing:
            job = make_job(work.specs, work.options)
            ids = {place: queued_job.job_id for place, queued_job in jobs.items()}
            submitted = submit(stage_jobs(missing, job.file), ids, self._settings, job.directory)
            jobs |= {place: QueuedJob(job_id, "PENDING", "", job.directory) for place, job_id in submitted.items()}
            note(f"{len(missing)} stages submitted; what their jobs say is in {job.directory}")
        if self._wait:
            self._follow(work, jobs)
            return frozenset()
        return frozenset(stage.place for stage in work.pending)

    def _follow(self, work: Work, jobs: Mapping[str, QueuedJob]) -> None:
        watch = Watch(work)
        asked = time.monotonic()
        while watch.left:
            if stopping():
                note("the jobs stay in the queue")
            raise_if_stopping()
            time.sleep(LOOK_SECONDS)
            if time.monotonic() - asked > ASK_SECONDS:
                asked = time.monotonic()
                in_queue = _in_queue(work.options.runs_dir)
                if not any(stage.place in in_queue for stage in watch.left):
                    break
            watch.look()
        watch.look()
        for stage in watch.left:
            with work.failures.of_stage(stage):
                raise _failure(stage, jobs[stage.place])


def dry_run(specs: Sequence[LoadedSpec], options: RuntimeOptions, settings: Settings) -> Iterator[str]:
    """Yield the scripts that would be submitted; nothing is written, and there need not be a Slurm.

    Raises:
        FrepoError: a record is damaged, or Slurm does not answer.
    """
    jobs = queued_if_here(options.runs_dir.resolve() / JOBS)
    pending = [stage for stage in Graph(specs).stages if not is_done(stage, options.runs_dir)]
    directory = options.runs_dir.resolve() / JOBS / "JOB"
    missing = stage_jobs(_missing(pending, jobs), directory / JOB_FILE)
    return scripts(missing, {place: job.job_id for place, job in jobs.items()}, settings, directory)


def stage_jobs(stages: Sequence[Stage], job_file: Path) -> list[StageJob]:
    """Return what `submit` takes for stages of the job in `job_file`."""
    command = (sys.executable, "-m", "frepo.cli", "work", str(job_file))
    return [
        StageJob(stage.place, stage.kind.name, tuple(need.place for need in stage.needs), (*command, stage.place))
        for stage in stages
    ]


def _missing(pending: Sequence[Stage], jobs: Mapping[str, QueuedJob]) -> list[Stage]:
    """Return the stages to submit: those without a job, and those whose job waits for one that has ended in vain."""
    found: dict[str, Stage] = {}
    for stage in pending:
        job = jobs.get(stage.place)
        if job is None or (job.state == "PENDING" and any(need.place in found for need in stage.needs)):
            found[stage.place] = stage
    return list(found.values())


def _in_queue(runs_dir: Path) -> dict[str, QueuedJob]:
    return queued(runs_dir.resolve() / JOBS)


def _failure(stage: Stage, job: QueuedJob) -> FrepoError:
    return failure_in(job.directory, stage.place) or FrepoError(
        f"{stage.place} is not done though its job has ended; what it said is in {job.log}"
    )

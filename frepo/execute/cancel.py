"""Stopping what works on experiments, processes of this host and jobs of Slurm, so that it saves its state."""

import os
import signal
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from frepo.execute.graph import Graph
from frepo.execute.job import JOB_FILE, JOBS, read_job
from frepo.execute.slurm.queue import QueuedJob, queued_if_here
from frepo.execute.slurm.queue import cancel as cancel_jobs
from frepo.rundir.layout import stage_directory
from frepo.rundir.lease import Holder
from frepo.rundir.standing import living_holder
from frepo.spec import LoadedSpec


class Cancelled(NamedTuple):
    """What was at work.

    Attributes:
        asked: processes that were asked to stop.
        elsewhere: processes of other hosts, which nobody has asked.
        jobs: jobs of Slurm that were taken out of its queue; those that run are asked by Slurm.
    """

    asked: list[Holder]
    elsewhere: list[Holder]
    jobs: list[QueuedJob]


def cancel(specs: Sequence[LoadedSpec], runs_dir: Path) -> Cancelled:
    """Ask what works on these specs to stop.

    A command that has started several processes is asked itself, and asks them: of stages that they have not begun too.

    Raises:
        FrepoError: Slurm does not answer, or the file of a job in progress is damaged.
    """
    graph = Graph(specs)
    queue = queued_if_here(runs_dir.resolve() / JOBS)
    jobs = [queue[stage.place] for stage in graph.stages if stage.place in queue]
    cancel_jobs([job.job_id for job in jobs])
    others = [stage for stage in graph.stages if stage.place not in queue]
    working = [holder for stage in others if (holder := living_holder(stage_directory(stage, runs_dir)))]
    places = {stage.place for stage in others}
    for job in (runs_dir / JOBS).glob("*"):
        holder = living_holder(job)
        if holder and any(stage.place in places for stage in Graph(read_job(job / JOB_FILE).specs).stages):
            working.insert(0, holder)
    unique = {(holder.host, holder.pid): holder for holder in working}
    here = [holder for holder in unique.values() if holder.is_here]
    for holder in here:
        with suppress(ProcessLookupError):
            os.kill(holder.pid, signal.SIGTERM)
    return Cancelled(here, [holder for holder in unique.values() if not holder.is_here], jobs)

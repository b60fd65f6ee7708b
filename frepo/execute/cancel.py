"""Stopping what works on experiments: processes of this host by a signal, so that they save their state."""

import os
import signal
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from frepo.execute.graph import Graph
from frepo.execute.job import JOB_FILE, JOBS, read_job
from frepo.rundir.layout import stage_directory
from frepo.rundir.lease import Holder
from frepo.rundir.standing import living_holder
from frepo.spec import LoadedSpec


def cancel(specs: Sequence[LoadedSpec], runs_dir: Path) -> tuple[list[Holder], list[Holder]]:
    """Ask the processes that work on these specs to stop; return those asked, and those of other hosts.

    A command that has started several processes is asked itself, and asks them: of stages that they have not begun too.

    Raises:
        FrepoError: the file of a job in progress is damaged.
    """
    graph = Graph(specs)
    working = [holder for stage in graph.stages if (holder := living_holder(stage_directory(stage, runs_dir)))]
    places = {stage.place for stage in graph.stages}
    for job in (runs_dir / JOBS).glob("*"):
        holder = living_holder(job)
        if holder and any(stage.place in places for stage in Graph(read_job(job / JOB_FILE).specs).stages):
            working.insert(0, holder)
    unique = {(holder.host, holder.pid): holder for holder in working}
    here = [holder for holder in unique.values() if holder.is_here]
    for holder in here:
        with suppress(ProcessLookupError):
            os.kill(holder.pid, signal.SIGTERM)
    return here, [holder for holder in unique.values() if not holder.is_here]

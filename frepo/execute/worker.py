"""A process that computes stages of a job for the process that made it."""

import os
import signal
import threading
import time
from collections.abc import Callable, Sequence, Set
from contextlib import suppress

from frepo.errors import FrepoError
from frepo.execute import stages
from frepo.execute.executor import InProcess, Work
from frepo.execute.graph import Graph
from frepo.execute.job import Job
from frepo.execute.sameness import DataOfToday
from frepo.execute.several import Failures
from frepo.plan import Stage
from frepo.rundir.status import is_done
from frepo.signals import stop_on_signals


def work(job: Job, places: Sequence[str], *, cores: Set[int] | None = None, parent: int | None = None) -> None:
    """Compute the stages of `job` that lie in `places`, or all of it where there are none, along with its others.

    `cores` are those to use, all where it is None. `parent` is the id of the process that started this one, where it is
    not to be outlived.

    Raises:
        Interrupted: a signal came; what was computed is saved.
        FrepoError: a stage failed, or one of `places` needs a result that is not there.
    """
    os.chdir(job.here)
    graph = Graph(job.specs)
    with stop_on_signals():
        if parent is not None:
            threading.Thread(target=_stop_with, args=(parent,), daemon=True).start()
        failures = Failures(graph, go_on=True, job=job)
        failures.learn()
        wanted = [stage for stage in graph.stages if not places or stage.place in places]
        pending = [stage for stage in wanted if failures.wanted(stage) and not is_done(stage, job.options.runs_dir)]
        if places:
            _must_have_what_they_need(pending, job)
        if not pending:
            failures.raise_any(())
            return
        stages.prepare_jax(job.options)
        if cores:
            _keep_to(cores)
        data = DataOfToday(job.options)
        facts = {stage.place: data.facts(stage) for stage in pending}
        InProcess().compute(Work(graph, pending, failures, job.options, data, facts))
        failures.raise_any(())


def _must_have_what_they_need(pending: Sequence[Stage], job: Job) -> None:
    inside = {stage.place for stage in pending}
    for stage in pending:
        for need in stage.needs:
            if need.place not in inside and not is_done(need, job.options.runs_dir):
                raise FrepoError(f"{stage.place} needs {need.place}, which is not done: run the same command again")


def _keep_to(cores: Set[int]) -> None:
    """Keep all threads of this process, and those that they start, to some cores.

    This is done after JAX has made its threads, as many as there are cores: how it divides its work among them changes
    sums by rounding, and results are not to depend on how many processes there are.
    """
    for task in os.listdir("/proc/self/task"):  # noqa: PTH208 (names)
        with suppress(ProcessLookupError):
            os.sched_setaffinity(int(task), cores)


def _stop_with(parent: int, sleep: Callable[[float], None] = time.sleep) -> None:
    while os.getppid() == parent:
        sleep(1.0)
    os.kill(os.getpid(), signal.SIGTERM)

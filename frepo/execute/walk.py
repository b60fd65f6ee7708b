"""Walking a graph: each stage as soon as the stages it needs are done, beside other processes that do the same."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from frepo.execute.several import Failures
from frepo.plan import Stage
from frepo.rundir.directory import StageBusyError
from frepo.rundir.lease import LostError
from frepo.rundir.status import is_done
from frepo.signals import raise_if_stopping

WAIT_SECONDS = 1.0
"""Between two looks at stages that other processes work on."""


def walk(
    pending: Sequence[Stage],
    runs_dir: Path,
    work_on: Callable[[Stage], None],
    say: Callable[[Stage, str], None],
    failures: Failures,
) -> None:
    """Work on the stages that no other process works on, in their order and once they are ready, until all are done.

    One that fails stops only the experiments that ask for it.

    Raises:
        Interrupted: a signal came.
        FrepoError: a stage failed, and nothing is to go on after that.
    """
    left, done, waited_for = list(pending), set[str](), set[str]()

    def is_finished(stage: Stage) -> bool:
        if stage.place not in done and is_done(stage, runs_dir):  # which reads its results: once is enough
            done.add(stage.place)
        return stage.place in done

    while left:
        raise_if_stopping()
        failures.learn()
        left = [stage for stage in left if failures.wanted(stage) and not is_finished(stage)]
        ready = [stage for stage in left if all(map(is_finished, stage.needs))]
        if any(_taken(stage, work_on, failures) for stage in ready) or not left:
            continue
        for stage in ready:
            if stage.place not in waited_for:
                say(stage, "another process works on it: waiting")
                waited_for.add(stage.place)
        time.sleep(WAIT_SECONDS)


def walk_in_step(pending: Sequence[Stage], work_on: Callable[[Stage], None], failures: Failures) -> None:
    """Work on all stages in their order, as other processes that compute them together do at the same time.

    Raises:
        Interrupted: a signal came.
        FrepoError: a stage failed, or another process works on it.
    """
    for stage in pending:
        with failures.of_stage(stage):
            raise_if_stopping()
            work_on(stage)


def _taken(stage: Stage, work_on: Callable[[Stage], None], failures: Failures) -> bool:
    taken = True
    with failures.of_stage(stage):
        try:
            work_on(stage)
        except (StageBusyError, LostError):
            taken = False
    return taken

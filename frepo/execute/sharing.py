"""Several processes that work on the stages of one plan, each on some of its own."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from frepo.plan import Stage
from frepo.rundir.directory import StageBusyError
from frepo.rundir.status import is_done
from frepo.signals import raise_if_stopping

WAIT_SECONDS = 1.0
"""Between two looks at stages that other processes work on."""


def share(
    pending: Sequence[Stage], directory: Path, work_on: Callable[[Stage], None], say: Callable[[Stage, str], None]
) -> None:
    """Work on the stages that no other process works on, as soon as what they need is done, until all are.

    Raises:
        Interrupted: a signal came.
        FrepoError: a stage failed.
    """
    left, waited_for = list(pending), set[str]()
    while left:
        raise_if_stopping()
        left = [stage for stage in left if not is_done(stage, directory)]
        ready = [stage for stage in left if all(is_done(need, directory) for need in stage.needs)]
        if any(_taken_and_done(stage, work_on) for stage in ready) or not left:
            continue
        for stage in ready:
            if stage.fingerprint not in waited_for:
                say(stage, "another process works on it")
                waited_for.add(stage.fingerprint)
        time.sleep(WAIT_SECONDS)


def _taken_and_done(stage: Stage, work_on: Callable[[Stage], None]) -> bool:
    try:
        work_on(stage)
    except StageBusyError:
        return False
    return True

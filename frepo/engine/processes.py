"""One experiment computed by several processes: all compute, the first one writes.

With a single process these functions do nothing.
"""

from collections.abc import Callable
from typing import TypeVar

import jax
import numpy as np

from frepo.errors import FrepoError
from frepo.runtime import Processes

T = TypeVar("T")


def join(processes: Processes) -> bool:
    """Meet the other processes and return whether this is the first one, which writes.

    Raises:
        FrepoError: the other processes cannot be reached.
    """
    try:
        jax.distributed.initialize(processes.coordinator, processes.count, processes.index)
    except (RuntimeError, ValueError) as error:
        raise FrepoError(
            f"--distributed: the other processes cannot be joined: {error}; if no cluster is recognised, give each "
            "process HOST:PORT,INDEX/COUNT"
        ) from None
    return jax.process_index() == 0


def meet(place: str) -> None:
    """Wait until all processes are at `place`."""
    if jax.process_count() > 1:
        from jax.experimental import multihost_utils

        multihost_utils.sync_global_devices(place)


def first_goes_first(action: Callable[[], T], place: str) -> T:
    """Return `action()`, done by the first process before the others; if it fails there, the others do it too."""
    if jax.process_index() == 0:
        try:
            return action()
        finally:
            meet(place)
    meet(place)
    return action()


def any_process(*questions: bool) -> tuple[bool, ...]:
    """Return for each question whether any process answers yes, so that all processes take the same branch."""
    if jax.process_count() == 1:
        return questions
    from jax.experimental import multihost_utils

    answers: list[list[bool]] = np.asarray(multihost_utils.process_allgather(np.array(questions))).tolist()
    return tuple(any(column) for column in zip(*answers, strict=True))

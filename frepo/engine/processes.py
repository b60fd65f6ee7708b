"""One experiment computed by several processes: all compute, the first one writes, and none waits for one that is gone.

With a single process these functions do nothing.
"""

import atexit
import ctypes
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import jax
import numpy as np

from frepo.errors import FrepoError, Interrupted
from frepo.rundir.lease import lease_seconds
from frepo.runtime import Processes
from frepo.signals import STANDARD_ERROR

T = TypeVar("T")

LOST = (
    "another of the processes that compute this together cannot be reached: it has died, was stopped, or has failed "
    "and says why itself. The state last saved stays: run the same command again to go on"
)
OF_OTHERS = re.compile(
    r"gloo|nccl|coordination|connection (closed|reset|refused)|socket closed|\bpeer\b", re.IGNORECASE
)
"""What libraries say where the other side of an exchange is gone."""

GRACE_SECONDS = 5.0
"""For which the first process stays when it has failed."""

_handlers: list[Any] = []
"""What C calls; it has to outlive the call that installs it."""


class LostProcessError(Interrupted):
    """Another process does not answer any more; exit code 75."""


def join(processes: Processes) -> bool:
    """Meet the other processes and return whether this is the first one, which writes.

    Raises:
        FrepoError: the other processes cannot be reached.
    """
    _end_as_interrupted_where_jax_aborts()
    seconds = max(1, round(lease_seconds()))
    try:
        jax.distributed.initialize(
            processes.coordinator, processes.count, processes.index, heartbeat_timeout_seconds=seconds
        )
    except (RuntimeError, ValueError) as error:
        raise FrepoError(
            f"--distributed: the other processes cannot be joined: {error}; if no cluster is recognised, give each "
            "process HOST:PORT,INDEX/COUNT"
        ) from None
    return jax.process_index() == 0


@contextmanager
def letting_none_wait() -> Generator[None]:
    """Let no other process wait for this one where the block fails: then this one leaves without the farewell of JAX.

    Raises:
        LostProcessError: an exchange with another process failed.
    """
    try:
        with others_answering():
            yield
    except BaseException as error:
        if not isinstance(error, Interrupted) or isinstance(error, LostProcessError):  # all stop at a signal together
            # At exit, so after the message. JAX ends all when the first process is gone: others may fail alike.
            grace = GRACE_SECONDS if jax.process_index() == 0 and not isinstance(error, LostProcessError) else 0.0
            atexit.register(_leave, error.exit_code if isinstance(error, FrepoError) else 1, grace)
        raise


@contextmanager
def others_answering() -> Generator[None]:
    """Say it in words where an exchange with another process fails.

    Raises:
        LostProcessError: one did.
    """
    try:
        yield
    except (RuntimeError, ValueError) as error:
        if jax.process_count() > 1 and OF_OTHERS.search(str(error)):
            raise LostProcessError(f"{LOST} ({str(error).splitlines()[0][:200]})") from None
        raise


def _leave(code: int, grace: float) -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    time.sleep(grace)
    os._exit(code)


def _end_as_interrupted_where_jax_aborts() -> None:
    """Give the end that JAX puts to a process, once another has been silent for too long, a message and exit code 75.

    JAX aborts from a thread of its own while the main thread may hang in an exchange for ever, so it cannot be caught.
    """

    def aborted(number: int) -> None:  # noqa: ARG001
        os.write(STANDARD_ERROR, f"\nfrepo: {LOST}\n".encode())
        os._exit(Interrupted.exit_code)

    handler = ctypes.CFUNCTYPE(None, ctypes.c_int)(aborted)
    _handlers.append(handler)
    ctypes.CDLL(None).signal(int(signal.SIGABRT), handler)


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

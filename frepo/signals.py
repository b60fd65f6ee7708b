"""Signals that ask a run to stop: finish the step, save the state, leave with exit code 75."""

import os
import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from types import FrameType

from frepo.errors import Interrupted

ASK_TO_STOP = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
"""Asked by a scheduler or `kill`, by Ctrl-C, by a terminal that closes, and by Slurm before the time is up."""

STANDARD_ERROR = 2

_received: list[str] = []


@contextmanager
def stop_on_signals() -> Generator[None]:
    """While the block runs, remember a signal that asks to stop instead of dying of it; ask with `stopping`.

    A second Ctrl-C does what it did before the block: it ends the program at once. A SIGHUP that is ignored, as under
    nohup, stays ignored. Python hands signals to the main thread alone: elsewhere the caller decides what they do.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = {number: signal.getsignal(number) for number in ASK_TO_STOP}
    if previous[signal.SIGHUP] == signal.SIG_IGN:
        del previous[signal.SIGHUP]

    def remember(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        _received.append(signal.Signals(number).name)
        if number == signal.SIGINT:
            signal.signal(number, previous[signal.SIGINT])
            # Not print: this may have come in the middle of one.
            with suppress(OSError):
                os.write(STANDARD_ERROR, b"\nstopping once the state is saved; Ctrl-C again ends at once\n")

    try:
        for number in previous:
            signal.signal(number, remember)
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        _received.clear()


def stopping() -> bool:
    """Return whether a signal has asked the run to stop."""
    return bool(_received)


def raise_if_stopping(otherwise: str | None = None) -> None:
    """Leave where a signal has asked for it, or `otherwise`, something that is named, has.

    Raises:
        Interrupted: one of them has.
    """
    reason = _received[0] if _received else otherwise
    if reason:
        raise Interrupted(f"stopped by {reason}; run the same command again to go on")

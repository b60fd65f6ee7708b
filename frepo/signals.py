"""SIGTERM and SIGINT: finish the step, save the state, leave with exit code 75."""

import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType

from frepo.errors import Interrupted

_received: list[str] = []


@contextmanager
def stop_on_signals() -> Generator[None]:
    """While the block runs, remember a SIGTERM or SIGINT instead of dying of it; ask with `stopping`.

    Python hands signals to the main thread alone: elsewhere the caller decides what they do.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def remember(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        _received.append(signal.Signals(number).name)

    previous = {number: signal.signal(number, remember) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
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

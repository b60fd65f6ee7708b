"""Signals that stop a run: finish the step, save the state, exit with code 75."""

import os
import signal
import socket
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from types import FrameType

from frepo.errors import Interrupted

ASK_TO_STOP = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
"""Sent by a scheduler or `kill`, by Ctrl-C, by a closing terminal, and by Slurm before the time is up."""

STANDARD_ERROR = 2
QUERY_INTERRUPTED = "Query interrupted"

_received: list[str] = []


@contextmanager
def stop_on_signals() -> Generator[None]:
    """While the block runs, record a signal to stop instead of ending the process; `stopping` tells of it.

    A second Ctrl-C acts as before the block: it ends the program at once. An ignored SIGHUP, as under nohup, stays
    ignored. Python delivers signals to the main thread only: in other threads the caller handles them.
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
            # Not print: the signal may have interrupted one.
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


@contextmanager
def interruptible(interrupt: Callable[[], None]) -> Generator[None]:
    """Let Ctrl-C end a query of DuckDB in the block as it ends anything else.

    While a query runs, Python's handler cannot, and DuckDB looks for signals only where its main thread happens to have
    work. So another thread is told of the signal, and calls `interrupt`, which ends the connection's query. Where
    Ctrl-C means something else, as in `stop_on_signals`, and outside of the main thread nothing is done.

    Raises:
        KeyboardInterrupt: it came during a query.
    """
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    here, there = socket.socketpair()
    there.setblocking(False)
    told = threading.Thread(target=_pass_on, args=(here, interrupt), daemon=True)
    told.start()
    before = signal.set_wakeup_fd(there.fileno(), warn_on_full_buffer=False)
    try:
        yield
    except RuntimeError as error:
        if str(error) == QUERY_INTERRUPTED:
            raise KeyboardInterrupt from None
        raise
    finally:
        signal.set_wakeup_fd(before)
        there.close()
        told.join()
        here.close()


def _pass_on(channel: socket.socket, interrupt: Callable[[], None]) -> None:
    """Call `interrupt` for each Ctrl-C, until the other end is closed."""
    while number := channel.recv(1):
        if number[0] == signal.SIGINT:
            interrupt()


def stopping() -> bool:
    """Return whether a signal to stop has come."""
    return bool(_received)


def raise_if_stopping(otherwise: str | None = None) -> None:
    """Raise an error if a signal to stop has come, or if `otherwise` names another reason.

    Raises:
        Interrupted: there is such a signal or reason.
    """
    reason = _received[0] if _received else otherwise
    if reason:
        raise Interrupted(f"stopped by {reason}; run the same command again to go on")

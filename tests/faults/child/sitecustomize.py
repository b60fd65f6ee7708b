"""What a child of the fault harness does to itself: Python imports this file at its start, before any of frepo's.

$FREPO_FAULT is JSON: `root` (what lies elsewhere is not looked at), `trace` (a file that gets a line for each write),
and what happens `at` the n-th write, or at the n-th one of `place`: a `signal` to this process, at once or `delay`
seconds later, or an `error` (the name of an errno) instead of the write. `clock` shifts the clock by so many seconds,
and `no_locks` takes file locks away. With `workers`, it is for the processes of `--jobs` only.

A write is what changes names or contents on disk and passes Python: opening a file for writing, renaming, removing,
each fsync, and each opening of the database, whose own writes do not pass Python. An audit hook is called before it is
done, so that nothing is mocked: between two writes all is real.
"""

import errno
import importlib.util
import json
import os
import signal
import sys
import threading

WRITES = {
    "open": lambda _, mode, flags: _for_writing(mode, flags),
    **dict.fromkeys(
        (
            "os.rename",
            "os.link",
            "os.symlink",
            "os.remove",
            "os.mkdir",
            "os.rmdir",
            "os.truncate",
            "os.utime",
            "os.chmod",
        ),
        lambda *_: True,
    ),
}

PACKAGE = f"{os.path.dirname(importlib.util.find_spec('frepo').origin)}/"  # noqa: PTH120
"""Where frepo's code lies, installed or in a checkout."""

TO = ("os.rename", "os.symlink", "os.link")
"""Writes at their second path."""


def _for_writing(mode, flags):
    return any(letter in "wax+" for letter in mode or "") or bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))


class Fault:
    """The fault of this process; a forked child has none."""

    def __init__(
        self, root, at=None, place=None, signal=None, delay=0.0, error=None, trace=None, clock=0, no_locks=False
    ):
        self.root, self.at, self.place, self.signal, self.delay, self.error = root, at, place, signal, delay, error
        self.trace = trace and os.open(trace, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self.no_locks, self.clock = no_locks, clock
        self.pid, self.count = os.getpid(), 0
        self.busy = False

    def __call__(self, event, args):
        if self.no_locks and event in ("fcntl.flock", "fcntl.lockf"):
            raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))
        check = WRITES.get(event)
        if check is None or not isinstance(args[0], (str, bytes, os.PathLike)):
            return
        if check(*args):
            self.meet(event, args[1] if event in TO else args[0])
        elif os.fsdecode(args[0]).endswith(".duckdb"):
            self.meet("database", args[0])

    def meet(self, event, path):
        """Do what is to be done before a write."""
        path = os.path.abspath(os.fsdecode(path))  # noqa: PTH100 (a link stays one)
        if self.busy or not path.startswith(self.root) or os.getpid() != self.pid:
            return
        self.busy = True
        try:
            places = list(_frepo_frames(sys._getframe(2)))
            if self.trace:
                line = json.dumps({"event": event, "path": path, "places": places})
                os.write(self.trace, f"{line}\n".encode())
            if not places or (self.place is not None and self.place not in places):
                return
            self.count += 1
            if self.at != self.count:
                return
            if self.signal == signal.SIGKILL and self.delay:
                signal.setitimer(signal.ITIMER_REAL, self.delay)  # ends the process wherever it is, in C++ too
            elif self.signal and self.delay:
                threading.Timer(self.delay, os.kill, (os.getpid(), self.signal)).start()
            elif self.signal:
                os.kill(os.getpid(), self.signal)
        finally:
            self.busy = False
        if self.error:
            number = getattr(errno, self.error)
            raise OSError(number, os.strerror(number), path)


def _frepo_frames(frame):
    """Yield `file:function` of each frame that runs code of frepo, innermost first."""
    while frame is not None:
        if frame.f_code.co_filename.startswith(PACKAGE):
            yield f"{frame.f_code.co_filename.removeprefix(PACKAGE)}:{frame.f_code.co_qualname}"
        frame = frame.f_back


def _watch_fsync(fault):
    fsync = os.fsync

    def watched(number):
        handle = number if isinstance(number, int) else number.fileno()
        fault.meet("fsync", os.readlink(f"/proc/self/fd/{handle}"))  # noqa: PTH115
        fsync(number)

    os.fsync = watched


def _shift_clock(seconds):
    import time

    now, now_ns = time.time, time.time_ns
    time.time = lambda: now() + seconds
    time.time_ns = lambda: now_ns() + seconds * 10**9


def _begin(workers=False, **settings):
    if workers and "work" not in sys.orig_argv:
        return
    del os.environ["FREPO_FAULT"]  # children have none
    fault = Fault(**settings)
    sys.addaudithook(fault)
    _watch_fsync(fault)
    if fault.clock:
        _shift_clock(fault.clock)


if "FREPO_FAULT" in os.environ:
    _begin(**json.loads(os.environ["FREPO_FAULT"]))

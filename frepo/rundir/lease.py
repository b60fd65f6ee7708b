"""Leases: one process at a time works on a stage, on whichever host, without locks of the file system.

A lease is a file `.lease-<n>` in the stage's directory that says who holds it. Making it is exclusive on every file
system, NFS included. Its holder touches it while it works; once it has not been touched for as long as it says itself,
or its process on this host is gone, the holder counts as dead. Where all are dead, whoever makes the next number and
sees none that lives besides its own takes the place of all. The time of a touch is the file server's, so that clocks
of hosts need not agree.
"""

import contextlib
import json
import os
import platform
import random
import tempfile
import threading
import time
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Annotated

from pydantic import Field, FiniteFloat, TypeAdapter

from frepo.errors import FrepoError
from frepo.reading import read_regular
from frepo.rundir.files import rename_damaged

PREFIX = ".lease-"
SECONDS_VARIABLE = "FREPO_LEASE_SECONDS"
LOG_VARIABLE = "FREPO_LOG"
DEFAULT_SECONDS = 120.0
"""After which a holder on another host that does not touch its lease is taken for dead."""

TOUCHES = 6
"""In the time after which a holder is taken for dead."""

LOOK_AGAIN_SECONDS = 0.2

UNKNOWN = ""
"""When a process started that is there, but says no more of itself."""


class BusyError(FrepoError):
    """Another process holds the lease."""


class LostError(FrepoError):
    """Another process has taken this one for dead and its lease away."""


@dataclass(frozen=True)
class Holder:
    """Who holds a lease."""

    host: str
    """Name of the host."""
    kernel: str
    """What else two processes must share to see each other: this boot of the machine, and the space of process ids."""
    pid: Annotated[int, Field(gt=0)]
    """Never 0 or less, which stand for many processes where one is asked to stop."""
    started: str
    """When the process started, as the kernel counts: a process id may be given again."""
    seconds: FiniteFloat
    """After so long without a touch it may be taken for dead."""
    token: str
    """Tells two leases of one process apart."""
    log: str | None = None
    """The file that it writes to; None for a terminal."""

    @property
    def where(self) -> str:
        """The process in words."""
        return f"process {self.pid} on {self.host}"

    @property
    def is_here(self) -> bool:
        """Whether its process id means it in this process too."""
        return (self.host, self.kernel) == (platform.node(), _kernel())


_HOLDER = TypeAdapter(Holder)
LARGEST_LEASE = 2**16
"""Bytes."""


@dataclass(frozen=True)
class _Seen:
    number: int
    holder: Holder | None
    """None where the file is empty or damaged: it is being written, or its writer died doing so."""
    path: Path
    touched: float
    """By the clock of the file system, seconds since 1970."""


def holder_of(directory: Path) -> Holder | None:
    """Return the living holder of the lease of `directory`, or None.

    Raises:
        OSError: the directory cannot be read.
    """
    living = _living(_all(directory))
    return living.holder if living else None


@contextmanager
def held(directory: Path, patience: float) -> Generator["Lease"]:
    """Hold the lease of `directory` while the block runs.

    Raises:
        BusyError: another process held it for all of `patience` seconds.
        OSError: the directory cannot be written.
    """
    lease = _acquire(directory, patience)
    lease.keep_alive()
    try:
        yield lease
    finally:
        lease.release()


class Lease:
    """A lease that this process holds."""

    def __init__(self, path: Path, holder: Holder) -> None:
        self._path, self._holder = path, holder
        self._done = threading.Event()
        self._thread: threading.Thread | None = None

    def must_be_held(self) -> None:
        """Hold it still, as far as the disk says.

        Raises:
            LostError: another process has taken it.
        """
        if not self._is_mine():
            raise LostError(
                f"{self._path.parent} was taken over by another process, since this one did not answer for too long; "
                "its work is left to that process"
            )

    def keep_alive(self) -> None:
        """Touch it from time to time from now on."""
        self._thread = threading.Thread(target=self._touch, name="frepo-lease", daemon=True)
        self._thread.start()

    def release(self) -> None:
        """Give it back."""
        self._done.set()
        if self._thread:
            self._thread.join()
        if self._is_mine():  # else its directory was set aside with it, or another process holds one of this name
            with contextlib.suppress(OSError):
                self._path.unlink()

    def _touch(self) -> None:
        while not self._done.wait(self._holder.seconds / TOUCHES):
            if self._is_mine():  # else it would keep the lease of another process alive
                with contextlib.suppress(OSError):
                    os.utime(self._path)

    def _is_mine(self) -> bool:
        try:
            return _read(self._path) == self._holder
        except OSError:
            return False


def log_file() -> str | None:
    """Return the file that the executor which started this process lets it write to."""
    return os.environ.get(LOG_VARIABLE)


def lease_seconds() -> float:
    """Return after how long a silent holder is taken for dead: $FREPO_LEASE_SECONDS, else two minutes."""
    try:
        given = float(os.environ.get(SECONDS_VARIABLE, ""))
    except ValueError:
        return DEFAULT_SECONDS
    return given if 1 <= given < float("inf") else DEFAULT_SECONDS


def _acquire(directory: Path, patience: float) -> Lease:
    until = time.monotonic() + patience
    while True:
        found = _all(directory)
        living = _living(found)
        if living is None:
            lease = _try_to_take(directory, 1 + max((seen.number for seen in found), default=0))
            if lease:
                return lease
        elif time.monotonic() >= until:
            who = f" by {living.holder.where}" if living.holder else ""
            raise BusyError(f"{directory} is held{who}")
        time.sleep(LOOK_AGAIN_SECONDS * random.uniform(0.5, 1.5))  # noqa: S311 (two that give way must not do so for ever)


def _try_to_take(directory: Path, number: int) -> Lease | None:
    """Make the lease of this number and look whether it is the only one that lives; give it back where it is not."""
    path = directory / f"{PREFIX}{number}"
    mine = _this_process()
    try:
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    except FileExistsError:
        return None
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(json.dumps(asdict(mine)).encode())
            file.flush()
            os.fsync(file.fileno())
    except OSError:  # a full disk: an empty lease would hold the next process up
        path.unlink(missing_ok=True)
        raise
    found = _all(directory)
    others = [seen for seen in found if seen.holder != mine]
    if len(others) == len(found):  # a faster one has taken it for a leftover, worked and gone
        return None
    if _living(others):  # both look after making theirs, so at most one of them stays
        path.unlink(missing_ok=True)
        return None
    for seen in others:
        _discard(seen.path)
    return Lease(path, mine)


def _living(found: list[_Seen]) -> _Seen | None:
    """Return the one of the lowest number that lives: others that live are about to give way."""
    return min((seen for seen in found if not _is_dead(seen)), key=lambda seen: seen.number, default=None)


def _all(directory: Path) -> list[_Seen]:
    found: list[_Seen] = []
    names = [name for name in os.listdir(directory) if name.startswith(PREFIX)]  # noqa: PTH208
    for name in names:
        number = name.removeprefix(PREFIX)
        path = directory / name
        if not number.isdecimal():
            continue
        try:
            found.append(_Seen(int(number), _read(path), path, path.stat().st_mtime))
        except FileNotFoundError:
            continue
        except OSError:  # unreadable, or a directory: of nobody who could be known
            found.append(_Seen(int(number), None, path, path.stat().st_mtime))
    return found


def _discard(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:  # a directory has its name
        rename_damaged(path)


def _read(path: Path) -> Holder | None:
    try:
        return _HOLDER.validate_json(read_regular(path, LARGEST_LEASE), strict=True)
    except ValueError:
        return None


def _server_time(directory: Path) -> float:
    """Return the time of the file system that `directory` is on; this host's where it cannot be written."""
    try:
        with tempfile.NamedTemporaryFile(dir=directory, prefix=".clock-") as file:
            return os.fstat(file.fileno()).st_mtime
    except OSError:
        return time.time()


def _is_dead(seen: _Seen) -> bool:
    holder = seen.holder
    started = _started(holder.pid) if holder and holder.is_here else UNKNOWN
    if holder and started != UNKNOWN:
        return started != holder.started
    silent = _server_time(seen.path.parent) - seen.touched
    if silent < 0:  # the clock was set back since; a holder that lives touches it by the new time
        silent = _seen_for(seen)
    return silent > (holder.seconds if holder else lease_seconds())


def _seen_for(seen: _Seen) -> float:
    """Return how long this process has seen a lease without a new touch, in seconds."""
    since = _first_seen.setdefault((seen.path, seen.touched), time.monotonic())
    return time.monotonic() - since


_first_seen: dict[tuple[Path, float], float] = {}
"""When this process first saw a lease with its time of touch in the future, by its own monotonic clock."""


def _this_process() -> Holder:
    pid = os.getpid()
    return Holder(platform.node(), _kernel(), pid, _started(pid) or "", lease_seconds(), uuid.uuid4().hex, log_file())


@cache
def _kernel() -> str:
    parts: list[str] = []
    with contextlib.suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        parts.append(os.readlink("/proc/self/ns/pid"))  # noqa: PTH115 (a name, not a path)
    return " ".join(parts)


def _started(pid: int) -> str | None:
    """Return when a process of this host started, or None where it does not run."""
    try:
        # The name of the program, in parentheses, may hold spaces: fields are counted after it.
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if state in "ZX" else fields[18]
    except (OSError, IndexError):
        pass
    try:  # no /proc, or one that hides the processes of other users
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except OSError:
        pass
    return UNKNOWN

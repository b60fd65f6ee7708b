"""One file over HTTP: resumed where an earlier attempt ended, checked against its SHA-256, in place only when whole."""

import errno
import http.client
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from frepo.data.fetch.request import DownloadError, PassingError, ask, reason
from frepo.errors import FrepoError
from frepo.progress import ByteProgress, byte_progress, note
from frepo.rundir.files import make_directories, rename, sha256_of_file, sync
from frepo.signals import raise_if_stopping

TRIES = 4
"""In a row without a new byte; after each one the pause is doubled."""
PAUSE_SECONDS = 1.0
SLOW_BYTES_PER_SECOND = 200_000
"""Below this rate, over `SLOW_SECONDS`, another source is tried."""
SLOW_SECONDS = 20.0
READ_BYTES = 2**18
FULL = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)


@dataclass(frozen=True)
class Remote:
    """A file as one source offers it."""

    name: str
    """Relative path that it gets."""
    size: int
    """Bytes."""
    sha256: str
    url: str
    token: str = field(default="", repr=False)
    """What the host of `url` wants to be shown, if anything."""


class SlowSourceError(DownloadError):
    """A source is below `SLOW_BYTES_PER_SECOND`."""


def download(remote: Remote, into: Path, *, hurry: bool) -> Path:
    """Fetch a file into the directory `into` and return its path; one that is there already is checked, not fetched.

    With `hurry` a slow source is given up. Proxies are those of the environment. Bytes that arrived stay in
    `NAME.part`, from where the next attempt goes on, from this source or another.

    Raises:
        DownloadError: the source fails, or is slow (`SlowSourceError`), or gives another file.
        FrepoError: the disk is full.
        Interrupted: a signal came.
    """
    target, part = into / remote.name, into / f"{remote.name}.part"
    make_directories(target.parent)
    if target.exists():
        if sha256_of_file(target) == remote.sha256:
            return target
        target.unlink()
    _fill(remote, part, hurry)
    found = sha256_of_file(part)
    if found != remote.sha256:
        part.unlink(missing_ok=True)
        raise DownloadError(
            f"{remote.url} is another file than the published one: its SHA-256 is {found}, not {remote.sha256}"
        )
    sync(part)
    rename(part, target)
    return target


def _fill(remote: Remote, part: Path, hurry: bool) -> None:
    """Bring the part to its full size, in as many tries as it takes while each brings something."""
    left, pause = TRIES, PAUSE_SECONDS
    if _size(part) > remote.size:
        part.unlink(missing_ok=True)
    with byte_progress(remote.name, _size(part), remote.size) as progress:
        while (before := _size(part)) < remote.size:
            try:
                _request(remote, part, hurry, progress)
                problem = f"the connection ended after {_size(part):,} of {remote.size:,} bytes"
            except PassingError as error:
                problem = str(error)
            if _size(part) == remote.size:
                return
            if _size(part) > before:
                left, pause = TRIES, PAUSE_SECONDS
            left -= 1
            if not left:
                raise DownloadError(f"{remote.url}: {problem}")
            note(f"{remote.name}: {problem}; trying again")
            wait(pause)
            pause *= 2


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def wait(seconds: float) -> None:
    """Wait, unless a signal comes.

    Raises:
        Interrupted: it came.
    """
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        raise_if_stopping()
        time.sleep(min(left, 0.2))


def _request(remote: Remote, part: Path, hurry: bool, progress: ByteProgress) -> None:
    """Ask once for what is missing, and append what comes."""
    start = _size(part)
    try:
        answer = ask(remote.url, start, remote.token)
    except PassingError as error:
        if error.code == 416:  # the range is beyond this source's file
            part.unlink(missing_ok=True)
        raise
    with answer:
        goes_on = answer.status == 206 and answer.headers.get("Content-Range", "").startswith(f"bytes {start}-")
        _receive(answer, remote, part, goes_on, hurry, progress)


def _receive(answer: Any, remote: Remote, part: Path, goes_on: bool, hurry: bool, progress: ByteProgress) -> None:
    since, received = time.monotonic(), 0
    try:
        file = part.open("ab" if goes_on else "wb", buffering=0)  # all that is written stays, should the disk be full
    except OSError as error:
        raise FrepoError(f"{part} cannot be written: {error.strerror}") from None
    with file:
        while True:
            raise_if_stopping()
            try:
                content = answer.read1(READ_BYTES)
            except (OSError, http.client.HTTPException) as error:
                raise PassingError(reason(error)) from None
            if not content:
                return
            _write(file, content, part)
            progress.update(file.tell())
            if file.tell() > remote.size:
                raise DownloadError(f"{remote.url} is larger than the {remote.size:,} bytes of the published file")
            received += len(content)
            passed = time.monotonic() - since
            if passed >= SLOW_SECONDS:
                if hurry and received < SLOW_BYTES_PER_SECOND * passed:
                    raise SlowSourceError(f"{remote.url} gives {received / passed / 1e3:,.0f} kB/s only")
                since, received = time.monotonic(), 0


def _write(file: Any, content: bytes, part: Path) -> None:
    view = memoryview(content)
    try:
        while view:
            view = view[file.write(view) :]
    except OSError as error:
        if error.errno not in FULL:
            raise FrepoError(f"{part} cannot be written: {error.strerror}") from None
        raise FrepoError(
            f"the disk of {part.parent} is full ({error.strerror}): {part.stat().st_size:,} bytes are kept in {part}; "
            "make room and run the same command again, or name another place with --data-dir"
        ) from None

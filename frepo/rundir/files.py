"""Writing files so that a reader sees the old content or the new, never a part."""

import contextlib
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Generator
from glob import escape
from pathlib import Path

LEFT_FOR_SECONDS = 24 * 3600.0
"""Where several processes write, what nobody has touched for so long is what a kill has left."""


def write_atomically(path: Path, content: bytes) -> None:
    """Write `content` to `path` through a temporary file beside it, synced to disk before it takes the name.

    Raises:
        OSError: the directory cannot be written or the disk is full; `path` is then as it was.
    """
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())  # noqa: PTH101 (mkstemp gives 0600; others may want to read results)
        os.replace(temporary, path)  # noqa: PTH105
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)  # noqa: PTH108
        raise
    sync(path.parent)


def make_directories(path: Path) -> None:
    """Make a directory and those above it that are not there, so that they survive a power cut.

    Raises:
        OSError: one of them cannot be made.
    """
    if path.is_dir():
        return
    if path.parent != path:
        make_directories(path.parent)
    path.mkdir(exist_ok=True)
    sync(path.parent)


def rename(path: Path, to: Path) -> Path:
    """Rename a file or directory, so that it survives a power cut, and return its new path.

    Raises:
        OSError: it cannot be renamed.
    """
    renamed = path.rename(to)
    for parent in {path.parent, renamed.parent}:
        sync(parent)
    return renamed


def delete(path: Path) -> None:
    """Remove a file, a link, or a directory with all that is in it."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def rename_damaged(path: Path) -> Path:
    """Rename what is not as it was written, so that nothing uses it, and return its new path, beside the old one."""
    names = (path.with_name(f"{path.name}.damaged{number}") for number in ("", *map(str, range(2, 10_000))))
    return rename(path, next(name for name in names if not name.exists()))


def remove_leftovers(directory: Path) -> None:
    """Remove what kills have left of files written atomically, below a directory that nobody else writes to."""
    for path in [path for path in directory.rglob(".*.tmp") if not path.is_symlink()]:
        delete(path)


@contextlib.contextmanager
def scratch_beside(path: Path) -> Generator[Path]:
    """Yield a directory for the time of the block, beside `path`, with a hidden name that says what a kill has left."""
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp") as temporary:
        yield Path(temporary)


@contextlib.contextmanager
def directory_written_atomically(path: Path) -> Generator[Path]:
    """Yield an empty directory beside `path` that takes its name when the block ends without an error.

    All that is in it is synced to disk before. Where another process has put a directory there in the meantime, that
    one stays. What kills have left of earlier tries is removed a day later.
    """
    make_directories(path.parent)
    for left in path.parent.glob(f".{escape(path.name)}.*.tmp"):
        if _untouched_seconds(left) > LEFT_FOR_SECONDS:
            shutil.rmtree(left, ignore_errors=True)
    with scratch_beside(path) as temporary:
        content = temporary / "content"
        content.mkdir()
        yield content
        for written in (*content.rglob("*"), content):
            sync(written)
        try:
            content.rename(path)
        except OSError:
            if not path.is_dir():
                raise
    sync(path.parent)


def sync(path: Path) -> None:
    """Make what a file holds, or the names in a directory, survive a power cut; nothing where there is no such path."""
    if not path.exists():
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sha256_of_file(path: Path) -> str:
    """Return the SHA-256 of a file as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _untouched_seconds(directory: Path) -> float:
    """Return for how long nothing in a directory has been written; 0 where it vanishes meanwhile."""
    try:
        return time.time() - max(path.stat().st_mtime for path in (directory, *directory.rglob("*")))
    except OSError:
        return 0.0


def _umask() -> int:
    value = os.umask(0)
    os.umask(value)
    return value

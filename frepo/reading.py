"""Reading what strangers may have made: regular files only, no more of them than is expected, and none elsewhere."""

import errno
import os
import stat
from pathlib import Path, PurePosixPath

NO_EXTENSIONS: dict[str, str | bool | int | float | list[str]] = {
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
}
"""Settings of DuckDB: nothing is fetched or loaded because of what a file or a query looks like."""


def read_regular(path: Path, most: int) -> bytes:
    """Return the content of a file.

    Raises:
        OSError: it cannot be read, is no regular file (a pipe would wait, and a device may have no end), or holds more
            than `most` bytes.
    """
    with open(path, "rb", opener=_without_waiting) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "Not a regular file", str(path))
        if status.st_size > most:
            raise OSError(errno.EFBIG, f"Larger than {most:,} bytes", str(path))
        return file.read()


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def is_inside(path: str) -> bool:
    """Return whether a path that a stranger states leads to a file below the directory that it is relative to."""
    parts = PurePosixPath(path).parts
    inside = bool(parts) and not path.startswith("/") and ".." not in parts
    return inside and path == "/".join(parts) and path.isprintable() and "\\" not in path

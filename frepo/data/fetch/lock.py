"""A lock between processes that fetch the same data set."""

import fcntl
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from frepo.progress import note
from frepo.signals import raise_if_stopping


@contextmanager
def alone(lock: Path) -> Generator[None]:
    """Hold a lock while the block runs, after waiting for other processes that fetch the same.

    The file stays: if it were removed, one could hold the lock of the old file and another that of a new one.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    said = False
    with lock.open("w") as file:
        while True:
            with suppress(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            if not said:
                note(f"waiting for another process that fetches the same ({lock})")
            said = True
            raise_if_stopping()
            time.sleep(0.5)
        yield

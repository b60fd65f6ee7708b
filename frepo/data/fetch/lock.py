"""A lock between processes that fetch the same data set."""

import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from frepo.progress import note
from frepo.rundir.lease import BusyError, held
from frepo.signals import raise_if_stopping

LOOK_AGAIN_SECONDS = 0.5


@contextmanager
def alone(directory: Path) -> Generator[None]:
    """Hold the lease of `directory` while the block runs, after waiting for other processes that fetch the same.

    It comes into being, and stays. A lease, since file systems that hold data sets need not have locks.
    """
    directory.mkdir(parents=True, exist_ok=True)
    said = False
    with ExitStack() as stack:
        while True:
            with suppress(BusyError):
                stack.enter_context(held(directory, 0.0))
                break
            if not said:
                note(f"waiting for another process that fetches the same ({directory})")
            said = True
            raise_if_stopping()
            time.sleep(LOOK_AGAIN_SECONDS)
        yield

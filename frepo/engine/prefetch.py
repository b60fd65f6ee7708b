"""Inputs of the next block, prepared while the device computes the current one."""

from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

Inputs = Any
"""A pytree of host arrays."""


@contextmanager
def prefetched(make: Callable[[int, int], Inputs]) -> Generator[Callable[[int, int, int], Inputs]]:
    """Yield `inputs(first, end, next_end)`, which returns `make(first, end - first)`.

    While the caller uses the result, a thread prepares the inputs of steps `end` to `next_end`; they are dropped if the
    next call asks for others.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="frepo-prefetch") as pool:
        ahead: dict[tuple[int, int], Future[Inputs]] = {}

        def inputs(first: int, end: int, next_end: int) -> Inputs:
            future = ahead.pop((first, end), None)
            for left in ahead.values():
                left.cancel()
            ahead.clear()
            made = future.result() if future else make(first, end - first)
            if next_end > end:
                ahead[end, next_end] = pool.submit(make, end, next_end - end)
            return made

        yield inputs

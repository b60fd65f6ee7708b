"""Contestants of a benchmark that take turns in one process, so that a machine's moods fall on all of them."""

import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax

from frepo.engine.blocks import BlockRunner
from frepo.engine.loop import Loop

Advance = Callable[[int], None]
"""Run that many steps to their end."""


def frepo_loop(loop: Loop[Any], state: Any = None) -> Advance:
    """Return a loop as frepo runs it on this backend, from `state` or from its own start."""
    runner, position = BlockRunner(loop.step), 0
    state = loop.first_state() if state is None else state

    def advance(count: int) -> None:
        nonlocal state, position
        state, _ = runner(state, loop.constants, loop.inputs(position, count), lambda _: False)
        jax.block_until_ready(state)
        position += count

    return advance


class Turns(NamedTuple):
    """Seconds a step of each contestant, by round."""

    seconds: Mapping[str, list[float]]

    def median(self, name: str) -> float:
        """Return the median of the seconds a step."""
        return statistics.median(self.seconds[name])

    def rate(self, name: str) -> str:
        """Return the steps a second."""
        return f"{1 / self.median(name):.3g}"

    def ratio(self, name: str, to: str) -> str:
        """Return how many times as long `name` takes as `to`: the median over the rounds, the least and the most."""
        ratios = [one / other for one, other in zip(self.seconds[name], self.seconds[to], strict=True)]
        return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"

    def beside(self, one: str) -> Iterator[tuple[str, str, str]]:
        """Yield (name, steps a second, how many times as long as `one`) of each contestant."""
        for name in self.seconds:
            yield name, self.rate(name), self.ratio(name, one)


def take_turns(contestants: Mapping[str, Advance], steps: int, rounds: int, warm_up: int = 3) -> Turns:
    """Return the times of `rounds` times `steps` steps of each contestant, after `warm_up` steps of each."""
    for advance in contestants.values():
        advance(warm_up)
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, advance in contestants.items():
            began = time.perf_counter()
            advance(steps)
            seconds[name].append((time.perf_counter() - began) / steps)
    return Turns(seconds)

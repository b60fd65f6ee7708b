"""Contestants of a benchmark that take turns in one process, so that a machine's moods fall on all of them."""

import statistics
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

Advance = Callable[[int], None]
"""Run that many steps to their end."""


class Ratio(NamedTuple):
    """How many times as long one takes as another: the median over the rounds, the least and the most."""

    median: float
    least: float
    most: float

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.least:.2f} to {self.most:.2f})"


class Turns(NamedTuple):
    """Seconds a step of each contestant, by round."""

    seconds: Mapping[str, list[float]]

    def rate(self, name: str) -> str:
        """Return the median of the steps a second."""
        return f"{1 / statistics.median(self.seconds[name]):.3g}"

    def ratio(self, name: str, to: str) -> Ratio:
        """Return how many times as long `name` takes as `to`, round by round."""
        ratios = [one / other for one, other in zip(self.seconds[name], self.seconds[to], strict=True)]
        return Ratio(statistics.median(ratios), min(ratios), max(ratios))


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

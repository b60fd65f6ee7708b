"""Which stages go into one array of jobs, and on which others these wait."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

LARGEST_ARRAY = 1000
"""Jobs: Slurm's own limit, where a cluster does not set `MaxArraySize`."""


@dataclass(frozen=True)
class StageJob:
    """A stage to compute in a job of its own.

    Attributes:
        key: tells it from all other stages.
        kind: name of its kind.
        needs: keys of the stages that must be done before.
        command: computes it.
    """

    key: str
    kind: str
    needs: tuple[str, ...]
    command: tuple[str, ...]


@dataclass(frozen=True)
class Array:
    """Like stages: of one kind, none of which needs another, at one depth below those that need nothing.

    Attributes:
        name: for people who look at the queue.
        stages: in the order of the array.
    """

    name: str
    stages: tuple[StageJob, ...]

    @property
    def needs(self) -> frozenset[str]:
        """Keys of all stages that one of its stages needs."""
        return frozenset(need for stage in self.stages for need in stage.needs)


def arrays(stages: Sequence[StageJob], queued: Collection[str]) -> list[Array]:
    """Return `stages`, which come after those that they need, as arrays in an order of the same kind.

    Others that they need may be `queued` already, by their keys.

    A whole array waits for whole arrays (`afterany`), so that nothing starts in vain where one stage fails: a stage
    whose own needs are not done refuses to start, and no other is held up. `aftercorr` would take arrays of equal
    length whose stages need one stage each.
    """
    depth = dict.fromkeys(queued, 0)
    alike: dict[tuple[int, str], list[StageJob]] = {}
    for stage in stages:
        depth[stage.key] = 1 + max((depth[need] for need in stage.needs if need in depth), default=-1)
        alike.setdefault((depth[stage.key], stage.kind), []).append(stage)
    return [
        Array(f"frepo-{kind}", tuple(group[start : start + LARGEST_ARRAY]))
        for (_, kind), group in sorted(alike.items(), key=lambda item: item[0])
        for start in range(0, len(group), LARGEST_ARRAY)
    ]

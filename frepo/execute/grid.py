"""The experiments of a sweep side by side: which stages they share, which are done, and what the rest would cost."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from frepo.plan import Plan, Stage, compile_plan
from frepo.rundir.status import StageOutlook, is_done
from frepo.runtime import RuntimeOptions
from frepo.spec import LoadedSpec


class GridStage(NamedTuple):
    """A stage, and the experiments that need it."""

    stage: Stage
    names: tuple[str, ...]
    done: bool


@dataclass(frozen=True)
class Grid:
    """Experiments, each with its plan, and the distinct stages of all of them by fingerprint."""

    experiments: tuple[tuple[LoadedSpec, Plan], ...]
    stages: dict[str, GridStage]

    @property
    def axes(self) -> dict[str, list[Any]]:
        """The values of each axis that its experiments have, in the order of the axes."""
        found: dict[str, dict[str, Any]] = {}
        for loaded, _ in self.experiments:
            for axis, value in loaded.swept.items():
                found.setdefault(axis, {}).setdefault(json.dumps(value, default=str), value)
        return {axis: list(values.values()) for axis, values in found.items()}

    @property
    def asked_for(self) -> int:
        """Number of stages of all experiments, one that several need counted for each."""
        return sum(len(plan.stages) for _, plan in self.experiments)

    @property
    def shared(self) -> int:
        """Number of distinct stages that several experiments need."""
        return sum(len(entry.names) > 1 for entry in self.stages.values())

    @property
    def done(self) -> int:
        """Number of distinct stages that are done."""
        return sum(entry.done for entry in self.stages.values())

    def done_of(self, plan: Plan) -> int:
        """Return the number of stages of one experiment that are done."""
        return sum(self.stages[stage.fingerprint].done for stage in plan.stages)


def read_grid(specs: Sequence[LoadedSpec], runs_dir: Path) -> Grid:
    """Plan experiments and look below `runs_dir` which of their stages are done.

    Raises:
        FrepoError: a record is damaged.
    """
    experiments = tuple((loaded, compile_plan(loaded.spec)) for loaded in specs)
    needed: dict[str, tuple[Stage, list[str]]] = {}
    for loaded, plan in experiments:
        for stage in plan.stages:
            needed.setdefault(stage.fingerprint, (stage, []))[1].append(loaded.spec.name)
    stages = {key: GridStage(stage, tuple(names), is_done(stage, runs_dir)) for key, (stage, names) in needed.items()}
    return Grid(experiments, stages)


class GridCost(NamedTuple):
    """What stages that differ in nothing that takes time cost together."""

    stage: Stage
    """The one that was timed."""
    stages: int
    cost: dict[str, Any] | None
    """Of one stage, as JSON; None where it has no steps."""

    @property
    def seconds(self) -> float:
        """Of all of them: one program serves them, so it is compiled once."""
        if self.cost is None:
            return 0.0
        return self.cost["compile_seconds"] + self.stages * self.cost["steps"] * self.cost["seconds_per_step"]


def estimate_grid(grid: Grid, options: RuntimeOptions) -> tuple[list[GridCost], int]:
    """Time one of each set of alike stages that are not done; return their costs and the number of devices.

    Raises:
        FrepoError: the data is not there or a stage does not fit it.
    """
    import jax

    from frepo.execute.estimate import estimate

    alike: dict[str, list[Stage]] = {}
    for entry in grid.stages.values():
        if not entry.done:
            alike.setdefault(_what_takes_time(entry.stage), []).append(entry.stage)
    outlooks = [StageOutlook(first, "to compute", 0, ()) for first, *_ in alike.values()]
    found = estimate(outlooks, options)
    costs = [GridCost(stages[0], len(stages), found[stages[0].directory]) for stages in alike.values()]
    return costs, jax.device_count()


def _what_takes_time(stage: Stage) -> str:
    """Return all of a stage but its seed, and the sizes of the data that it needs, as one text."""
    work = {**stage.work.model_dump(mode="json"), "seed": None}
    sizes = [_size(need) for need in stage.data]
    return json.dumps([work, sizes], sort_keys=True)


def _size(stage: Stage) -> int | None:
    return getattr(getattr(stage.work, "distill", None), "ipc", None)

"""The experiments of a sweep side by side: which stages they share, which are done, and what the rest would cost."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from frepo.execute.graph import Experiment, Graph
from frepo.plan import Stage
from frepo.rundir.status import StageOutlook, is_done
from frepo.runtime import RuntimeOptions
from frepo.spec import LoadedSpec


@dataclass(frozen=True)
class Survey:
    """Experiments, the distinct stages that they need, and the places of those that are done."""

    graph: Graph
    done: frozenset[str]

    @property
    def axes(self) -> dict[str, list[Any]]:
        """The values of each axis that its experiments have, in the order of the axes."""
        found: dict[str, dict[str, Any]] = {}
        for experiment in self.graph.experiments:
            for axis, value in experiment.loaded.swept.items():
                found.setdefault(axis, {}).setdefault(json.dumps(value, default=str), value)
        return {axis: list(values.values()) for axis, values in found.items()}

    @property
    def asked_for(self) -> int:
        """Number of stages of all experiments, one that several need counted for each."""
        return sum(len(experiment.plan.stages) for experiment in self.graph.experiments)

    @property
    def shared(self) -> int:
        """Number of distinct stages that several experiments need."""
        return sum(len(self.graph.asking(stage)) > 1 for stage in self.graph.stages)

    def done_of(self, experiment: Experiment) -> int:
        """Return the number of stages of one experiment that are done."""
        return len(experiment.places & self.done)


def survey(specs: Sequence[LoadedSpec], runs_dir: Path) -> Survey:
    """Plan experiments and look below `runs_dir` which of their stages are done.

    Raises:
        FrepoError: a record is damaged.
    """
    graph = Graph(specs)
    return Survey(graph, frozenset(stage.place for stage in graph.stages if is_done(stage, runs_dir)))


class AlikeCost(NamedTuple):
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


def estimate_survey(found: Survey, options: RuntimeOptions) -> tuple[list[AlikeCost], int]:
    """Time one of each set of alike stages that are not done; return their costs and the number of devices.

    Raises:
        FrepoError: the data is not there or a stage does not fit it.
    """
    import jax

    from frepo.execute.estimate import estimate

    alike: dict[str, list[Stage]] = {}
    for stage in found.graph.stages:
        if stage.place not in found.done:
            alike.setdefault(_what_takes_time(stage), []).append(stage)
    outlooks = [StageOutlook(first, "to compute", 0, ()) for first, *_ in alike.values()]
    estimates = estimate(outlooks, options)
    costs = [AlikeCost(stages[0], len(stages), estimates[stages[0].directory]) for stages in alike.values()]
    return costs, jax.device_count()


def _what_takes_time(stage: Stage) -> str:
    """Return all of a stage but its seed, and the sizes of the data that it needs, as one text."""
    work = {**stage.work.model_dump(mode="json"), "seed": None}
    sizes = [_size(need) for need in stage.data]
    return json.dumps([work, sizes], sort_keys=True)


def _size(stage: Stage) -> int | None:
    return getattr(getattr(stage.work, "distill", None), "ipc", None)

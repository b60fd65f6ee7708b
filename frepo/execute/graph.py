"""The stages of one or many experiments as one graph: each is computed once, whichever of them ask for it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from frepo.plan import Plan, Stage, compile_plan
from frepo.spec import LoadedSpec


@dataclass(frozen=True, eq=False)
class Experiment:
    """A spec and the stages that compute it."""

    loaded: LoadedSpec
    plan: Plan

    @property
    def name(self) -> str:
        """The name of its run."""
        return self.plan.spec.name

    @cached_property
    def places(self) -> frozenset[str]:
        """The names of the places of its stages."""
        return frozenset(stage.place for stage in self.plan.stages)


class Graph:
    """The distinct stages of experiments, each after those that it needs, in the order of the experiments."""

    def __init__(self, specs: Sequence[LoadedSpec]) -> None:
        self.experiments = tuple(Experiment(loaded, compile_plan(loaded.spec)) for loaded in specs)
        self._asking: dict[str, list[Experiment]] = {}
        found: dict[str, Stage] = {}
        for experiment in self.experiments:
            for stage in experiment.plan.stages:
                found.setdefault(stage.place, stage)
                self._asking.setdefault(stage.place, []).append(experiment)
        self._stages = found
        self.stages = tuple(found.values())
        self._positions = {place: number for number, place in enumerate(found, start=1)}

    def stage(self, place: str) -> Stage | None:
        """Return the stage that lies in `place`, or None where none does."""
        return self._stages.get(place)

    def asking(self, stage: Stage) -> Sequence[Experiment]:
        """Return the experiments that ask for `stage`."""
        return self._asking[stage.place]

    def position(self, stage: Stage) -> str:
        """Return which of all stages `stage` is, for the eye: `[2/5]`."""
        return f"[{self._positions[stage.place]}/{len(self.stages)}]"

    def title(self, stage: Stage) -> str:
        """Return `stage` with its position and the first experiment that asks for it, for the eye."""
        return f"{self.position(stage)} {self._asking[stage.place][0].name}/{stage.directory}"

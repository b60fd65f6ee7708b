"""Executors: who computes the stages of a graph that are not done."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from frepo.execute import stages
from frepo.execute.graph import Graph
from frepo.execute.index import bring_up_if_free
from frepo.execute.sameness import DataOfToday
from frepo.execute.several import Failures
from frepo.execute.stage import Found, run_stage
from frepo.execute.walk import walk, walk_in_step
from frepo.plan import Stage
from frepo.progress import note
from frepo.runtime import RuntimeOptions
from frepo.signals import raise_if_stopping
from frepo.spec import LoadedSpec

if TYPE_CHECKING:
    from frepo.data.dataset import DatasetInfo


@dataclass(frozen=True)
class Work:
    """Stages to compute, all of them checked and their runs recorded.

    Attributes:
        graph: all experiments of the command.
        pending: the stages that are not done, in order.
        failures: where an executor puts those of stages.
        options: of this invocation.
        data: says which files the data of a stage is read from.
        facts: of the data of each pending stage, by its place.
    """

    graph: Graph
    pending: Sequence[Stage]
    failures: Failures
    options: RuntimeOptions
    data: DataOfToday
    facts: Mapping[str, "DatasetInfo"]

    @property
    def specs(self) -> list[LoadedSpec]:
        """Those of the experiments that ask for a pending stage."""
        places = {stage.place for stage in self.pending}
        return [experiment.loaded for experiment in self.graph.experiments if experiment.places & places]


class Executor(Protocol):
    """A way to compute stages."""

    def compute(self, work: Work) -> frozenset[str]:
        """Compute the pending stages, and return the places of those that are left to others, in a queue.

        When this returns, each of the other stages is done or its failure is known.

        Raises:
            Interrupted: a signal came; what was computed is saved.
            FrepoError: it cannot be done this way.
        """
        ...


class InProcess:
    """One stage after the other in this process, leaving those that other processes work on to them."""

    def compute(self, work: Work) -> frozenset[str]:
        """Compute the pending stages, and leave none.

        Raises:
            Interrupted: a signal came; what was computed is saved.
            FrepoError: a stage failed, and nothing is to go on after that.
        """
        device = stages.prepare_jax(work.options)
        left = {stage.place for stage in work.pending}

        def say(stage: Stage, text: str) -> None:
            note(f"{work.graph.title(stage)}: {text}")

        def work_on(stage: Stage) -> None:
            raise_if_stopping()
            first, *_ = work.graph.asking(stage)
            found = Found(work.facts[stage.place].to_json(), work.data.files(stage), device, first.loaded.path)
            position = work.graph.position(stage)
            run_stage(stage, first.name, work.options, found, position, lambda text: say(stage, text))
            left.discard(stage.place)
            for experiment in work.graph.asking(stage):
                if experiment is not first and not left & experiment.places:
                    bring_up_if_free(work.options, experiment.name)
            if work.options.processes is not None:
                from frepo.engine.processes import meet

                meet(stage.place)

        if work.options.processes is None:
            walk(work.pending, work.options.runs_dir, work_on, say, work.failures)
        else:
            walk_in_step(work.pending, work_on, work.failures)
        return frozenset()

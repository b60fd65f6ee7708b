"""From a spec to the stages that compute it, each with a fingerprint of all that its result depends on."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from frepo.identity import fingerprint
from frepo.spec import Conv, Dataset, Distill, Evaluate, ExperimentSpec, Frepo, Pool, RandomSelection
from frepo.spec.table import Table

NUMERICS_VERSION = {"distill": 2, "evaluate": 2}
"""Raised when the code changes what a stage of that kind computes, so that old results are not taken for new ones."""


class DistillStage(Table):
    """Makes distilled data: learned images, or real ones where the method only selects."""

    kind: Literal["distill"] = "distill"
    seed: int
    dataset: Dataset
    distill: Distill
    architecture: Conv | None
    """None where the method has no network, like `pool`: what is not read is not part of the identity."""
    pool: Pool | None


class EvaluateStage(Table):
    """Trains networks on distilled data and tests them."""

    kind: Literal["evaluate"] = "evaluate"
    seed: int
    dataset: Dataset
    architecture: Conv
    evaluate: Evaluate
    source: str
    """Where the data comes from: `distilled`, or the name of a method that selects real images."""


@dataclass(frozen=True)
class Stage:
    """One computation: what it is, and which other stage's result it reads."""

    label: str
    work: DistillStage | EvaluateStage
    needs: tuple["Stage", ...] = ()

    @cached_property
    def identity(self) -> dict[str, Any]:
        """All that the result depends on, as JSON."""
        return {
            **self.work.model_dump(mode="json"),
            "numerics_version": NUMERICS_VERSION[self.work.kind],
            "needs": [stage.fingerprint for stage in self.needs],
        }

    @cached_property
    def fingerprint(self) -> str:
        """64 hexadecimal digits; equal exactly when the identity is."""
        return fingerprint(self.identity)

    @property
    def directory(self) -> str:
        """Name of its directory below the run's."""
        return f"{self.label}-{self.fingerprint[:8]}"


@dataclass(frozen=True)
class Plan:
    """The stages of a spec, each after those that it needs."""

    spec: ExperimentSpec
    stages: tuple[Stage, ...]

    @property
    def fingerprint(self) -> str:
        """Identity of the whole spec, its name included."""
        return fingerprint(self.spec.model_dump(mode="json"))

    @property
    def run_id(self) -> str:
        """Key of the run in the database: the spec's name and the start of its fingerprint."""
        return f"{self.spec.name}-{self.fingerprint[:8]}"


def compile_plan(spec: ExperimentSpec) -> Plan:
    """Return the stages that compute `spec`; pure, reads no data."""
    distilled = _distill_stage(spec, spec.distill)
    stages = [distilled]
    for application in spec.application:
        sources = [distilled, *(_distill_stage(spec, _selection(spec, name)) for name in application.baselines)]
        for source in sources:
            stages += [source, _evaluate_stage(spec, application, source)]
    unique = {stage.fingerprint: stage for stage in stages}
    return Plan(spec, tuple(unique.values()))


def _selection(spec: ExperimentSpec, method: Literal["random"]) -> Distill:
    return RandomSelection(method=method, ipc=spec.distill.ipc)


def _distill_stage(spec: ExperimentSpec, distill: Distill) -> Stage:
    learns = isinstance(distill, Frepo)
    work = DistillStage(
        seed=spec.seed,
        dataset=spec.dataset,
        distill=distill,
        architecture=spec.architecture if learns else None,
        pool=spec.pool if learns else None,
    )
    return Stage(distill.method, work)


def _evaluate_stage(spec: ExperimentSpec, application: Evaluate, source: Stage) -> Stage:
    assert isinstance(source.work, DistillStage)
    method = source.work.distill.method
    name = "distilled" if method == "frepo" else method
    work = EvaluateStage(
        seed=spec.seed,
        dataset=spec.dataset,
        architecture=spec.architecture.model_copy(update={"normalization": application.normalization}),
        evaluate=application.model_copy(update={"baselines": ()}),
        source=name,
    )
    return Stage(f"evaluate-{name}", work, (source,))

"""From a spec to the stages that compute it, each with a fingerprint of all that its result depends on."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, NamedTuple

from frepo.identity import fingerprint
from frepo.spec import (
    Architecture,
    Coreset,
    CrossArchitecture,
    Dataset,
    Distill,
    Evaluate,
    ExperimentSpec,
    FairScores,
    Frepo,
    Full,
    Imported,
    Pool,
    RandomSelection,
    Recipe,
)
from frepo.spec.application import Baseline
from frepo.spec.table import Table

NUMERICS_VERSION = {"distill": 3, "features": 1, "tune": 1, "evaluate": 3, "fair_scores": 1}
"""Raised when the code changes what a stage of that kind computes, so that old results are not taken for new ones."""


class DistillStage(Table):
    """Makes distilled data: learned images, or real ones where the method only selects."""

    kind: Literal["distill"] = "distill"
    seed: int
    dataset: Dataset
    distill: Frepo | RandomSelection | Coreset | Imported
    architecture: Architecture | None
    """None where the method has no network, like `pool`: what is not read is not part of the identity."""
    pool: Pool | None


class FeaturesStage(Table):
    """Trains one network on all real images, on whose features images are chosen."""

    kind: Literal["features"] = "features"
    seed: int
    dataset: Dataset
    architecture: Architecture
    recipe: Recipe
    epochs: int
    validation_fraction: float | None


class Evaluation(Table):
    """Networks trained on one source of data."""

    seed: int
    dataset: Dataset
    architecture: Architecture
    recipe: Recipe
    source: str
    """Where the data comes from: `distilled`, `full`, or the name of what chooses real images."""
    epochs: int | None
    """Passes over the data where it is all real images; None where the recipe says how many steps."""
    validation_fraction: float | None


class TuneStage(Evaluation):
    """Trains networks with one candidate for the learning rate and scores them on held-out training images."""

    kind: Literal["tune"] = "tune"


class EvaluateStage(Evaluation):
    """Trains networks and tests them; where it needs several tunings, with the best learning rate of those."""

    kind: Literal["evaluate"] = "evaluate"


class FairScoresStage(Table):
    """Scores computed from the six evaluations that it needs, in the order of `FairParts`."""

    kind: Literal["fair_scores"] = "fair_scores"
    improvement_weight: float
    augmented_weight: float


Work = DistillStage | FeaturesStage | TuneStage | EvaluateStage | FairScoresStage


@dataclass(frozen=True)
class Stage:
    """One computation: what it is, and which other stages' results it reads."""

    label: str
    work: Work
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


class Source(NamedTuple):
    """Data to train networks on."""

    name: str
    stage: Stage | None
    """None for all real images, which no stage has to make."""
    epochs: int | None = None


class FairParts(NamedTuple):
    """The evaluations that fair scores are computed from."""

    full_hard: Stage
    distilled_hard: Stage
    distilled: Stage
    random: Stage
    distilled_plain: Stage
    """Without augmentation, like the next."""
    random_plain: Stage


def compile_plan(spec: ExperimentSpec) -> Plan:
    """Return the stages that compute `spec`; pure, reads no data."""
    last = [source.stage for source in [_own_source(spec)] if source.stage]
    for application in spec.application:
        match application:
            case Evaluate():
                network = _with_normalization(spec, application)
                sources = [_own_source(spec), *(_baseline(spec, application, name) for name in application.baselines)]
                last += [_evaluate_stage(spec, application, source, network) for source in sources]
            case CrossArchitecture():
                sources = [_own_source(spec), *(_baseline(spec, application, name) for name in application.baselines)]
                last += [
                    _evaluate_stage(spec, application, source, network)
                    for network in application.networks()
                    for source in sources
                ]
            case FairScores():
                last.append(_fair_stage(spec, application))
    unique: dict[str, Stage] = {}
    for stage in _in_order(last):
        unique.setdefault(stage.fingerprint, stage)
    return Plan(spec, tuple(unique.values()))


def _in_order(stages: list[Stage]) -> Iterator[Stage]:
    for stage in stages:
        yield from _in_order(list(stage.needs))
        yield stage


def _own_source(spec: ExperimentSpec) -> Source:
    """Return the data that `[distill]` makes."""
    distill = spec.distill
    if isinstance(distill, Full):
        return Source("full", None, distill.epochs)
    return Source(source_name(distill), _distill_stage(spec, distill))


def source_name(distill: Distill) -> str:
    """Return what tables call the data that `distill` makes."""
    match distill:
        case Frepo() | Imported():
            return "distilled"
        case Coreset(on="features"):
            return f"{distill.method}_features"
        case _:
            return distill.method


def _baseline(spec: ExperimentSpec, application: Evaluate | CrossArchitecture, name: Baseline) -> Source:
    """Return as many real images as `[distill]` makes, or all of them."""
    assert not isinstance(spec.distill, Full)
    size: dict[str, Any] = {"ipc": spec.distill.ipc, "validation_fraction": spec.distill.validation_fraction}
    match name:
        case "full":
            return Source("full", None, application.full_epochs)
        case "random":
            return Source(name, _distill_stage(spec, RandomSelection(method="random", **size)))
        case "herding" | "k_center" | "k_means":
            return Source(name, _distill_stage(spec, Coreset(method=name, **size)))
        case "herding_features" | "k_center_features" | "k_means_features":
            method: Any = name.removesuffix("_features")
            chosen = Coreset(method=method, on="features", epochs=application.feature_epochs, **size)
            return Source(name, _distill_stage(spec, chosen))


def _distill_stage(spec: ExperimentSpec, distill: Frepo | RandomSelection | Coreset | Imported) -> Stage:
    learns = isinstance(distill, Frepo)
    work = DistillStage(
        seed=spec.seed,
        dataset=spec.dataset,
        distill=distill,
        architecture=spec.architecture if learns else None,
        pool=spec.pool if learns else None,
    )
    needs = (_features_stage(spec, distill),) if isinstance(distill, Coreset) and distill.on == "features" else ()
    return Stage(distill.method if isinstance(distill, Frepo | Imported) else source_name(distill), work, needs)


def _features_stage(spec: ExperimentSpec, distill: Coreset) -> Stage:
    work = FeaturesStage(
        seed=spec.seed,
        dataset=spec.dataset,
        architecture=spec.architecture,
        recipe=Recipe(num_models=1, warmup_steps=0, augmentation=()),
        epochs=distill.epochs,
        validation_fraction=distill.validation_fraction,
    )
    return Stage("features", work)


def _with_normalization(spec: ExperimentSpec, application: Evaluate | FairScores) -> Architecture:
    return spec.architecture.model_copy(update={"normalization": application.normalization})


def _evaluate_stage(spec: ExperimentSpec, recipe: Recipe, source: Source, network: Architecture) -> Stage:
    common = Recipe.model_validate({name: getattr(recipe, name) for name in recipe.model_fields_set & _recipe_fields()})
    if source.name != "distilled":
        common = _for_hard_labels(common)
    if source.name == "full":  # a kernel of all real images would not fit anywhere
        common = common.model_copy(update={"predictors": ("network",)})
    settings: dict[str, Any] = {
        "seed": spec.seed,
        "dataset": spec.dataset,
        "architecture": network,
        "source": source.name,
        "epochs": source.epochs,
        "validation_fraction": spec.distill.validation_fraction,
    }
    data = () if source.stage is None else (source.stage,)
    tunings = tuple(
        Stage(f"tune-{_evaluation_label(source, network)}", TuneStage(recipe=candidate, **settings), data)
        for candidate in _candidates(common)
    )
    work = EvaluateStage(recipe=common, **settings)
    return Stage(f"evaluate-{_evaluation_label(source, network)}", work, (*data, *tunings))


def _recipe_fields() -> set[str]:
    return set(Recipe.model_fields)


def _candidates(recipe: Recipe) -> Iterator[Recipe]:
    for rate in recipe.learning_rates:
        yield recipe.model_copy(update={"learning_rate": rate, "learning_rates": ()})


def _for_hard_labels(recipe: Recipe) -> Recipe:
    """Return the recipe for data whose labels are classes: what differs in words only becomes one stage."""
    loss = "xent" if recipe.loss == "soft_xent" else recipe.loss
    return recipe.model_copy(update={"labels": "hard", "loss": loss, "temperature": None})


def _evaluation_label(source: Source, network: Architecture) -> str:
    """Return a name; the paper's network without normalisation goes without saying."""
    usual = network.type == "conv" and network.normalization == "identity"
    return source.name if usual else f"{source.name}-{network.type}-{network.normalization}"


def _fair_stage(spec: ExperimentSpec, application: FairScores) -> Stage:
    assert not isinstance(spec.distill, Full)
    network = _with_normalization(spec, application)
    size: dict[str, Any] = {"ipc": spec.distill.ipc, "validation_fraction": spec.distill.validation_fraction}
    own = _own_source(spec)
    random = Source("random", _distill_stage(spec, RandomSelection(method="random", **size)))
    full = Source("full", None, application.full_epochs)
    hard = _for_hard_labels(application)
    plain = application.model_copy(update={"augmentation": ()})
    parts = FairParts(
        full_hard=_evaluate_stage(spec, hard, full, network),
        distilled_hard=_evaluate_stage(spec, hard, own, network),
        distilled=_evaluate_stage(spec, application, own, network),
        random=_evaluate_stage(spec, application, random, network),
        distilled_plain=_evaluate_stage(spec, plain, own, network),
        random_plain=_evaluate_stage(spec, plain, random, network),
    )
    weights = FairScoresStage(
        improvement_weight=application.improvement_weight, augmented_weight=application.augmented_weight
    )
    return Stage("fair-scores", weights, tuple(parts))

"""Stages that train networks on a source of data and score them."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from frepo.plan.sources import distill_stage, drawn, own_source
from frepo.plan.stage import Source, Stage
from frepo.plan.work import EvaluateStage, FairScoresStage, TuneStage
from frepo.spec import Architecture, Dataset, ExperimentSpec, FairScores, Recipe
from frepo.spec.architecture import Normalization
from frepo.spec.recipe import default_augmentation, hard_labels


class FairParts(NamedTuple):
    """The evaluations from which fair scores are computed."""

    full_hard: Stage
    distilled_hard: Stage
    distilled: Stage
    random: Stage
    distilled_plain: Stage
    """Without augmentation, like the next one."""
    random_plain: Stage


def with_normalization(spec: ExperimentSpec, normalization: Normalization) -> Architecture:
    """Return the spec's architecture with another normalisation."""
    return spec.architecture.model_copy(update={"normalization": normalization})


def evaluate_stage(spec: ExperimentSpec, recipe: Recipe, source: Source, network: Architecture) -> Stage:
    """Return the evaluation of `network` trained on `source`, with the tunings among which it chooses."""
    common = recipe_for(recipe, source, spec.dataset)
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


def recipe_for(recipe: Recipe, source: Source, dataset: Dataset) -> Recipe:
    """Return the plain recipe of an application, resolved for a source of data and a data set."""
    fields = recipe.model_fields_set & set(Recipe.model_fields)
    common = Recipe.model_construct(**{name: getattr(recipe, name) for name in sorted(fields)})
    if common.augmentation is None:
        operations = default_augmentation(dataset.name, common.augmentation_strategy)
        common = common.model_copy(update={"augmentation": operations})
    if source.name != "distilled":
        common = common.model_copy(update=hard_labels(common.loss))
    if source.stage is None:  # the kernel of all real images would be too large
        common = common.model_copy(update={"predictors": ("network",)})
    return common


def _candidates(recipe: Recipe) -> Iterator[Recipe]:
    for rate in recipe.learning_rates:
        yield recipe.model_copy(update={"learning_rate": rate, "learning_rates": ()})


def _evaluation_label(source: Source, network: Architecture) -> str:
    """Return a name; the paper's network without normalisation is not mentioned."""
    usual = network.type == "conv" and network.normalization == "identity"
    return source.name if usual else f"{source.name}-{network.type}-{network.normalization}"


def fair_stage(spec: ExperimentSpec, application: FairScores) -> Stage:
    """Return the scores of the distilled data, with the evaluations from which they are computed."""
    network = with_normalization(spec, application.normalization)
    own = own_source(spec)
    random = Source("random", distill_stage(spec, drawn(spec)))
    full = Source("full", None, application.full_epochs)
    hard = application.model_copy(update=hard_labels(application.loss))
    plain = application.model_copy(update={"augmentation": ()})
    parts = FairParts(
        full_hard=evaluate_stage(spec, hard, full, network),
        distilled_hard=evaluate_stage(spec, hard, own, network),
        distilled=evaluate_stage(spec, application, own, network),
        random=evaluate_stage(spec, application, random, network),
        distilled_plain=evaluate_stage(spec, plain, own, network),
        random_plain=evaluate_stage(spec, plain, random, network),
    )
    weights = FairScoresStage(
        improvement_weight=application.improvement_weight, augmented_weight=application.augmented_weight
    )
    return Stage("fair-scores", weights, tuple(parts))

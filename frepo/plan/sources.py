"""Stages that make data for training networks."""

from typing import Any

from frepo.plan.stage import Source, Stage
from frepo.plan.work import DistillStage, FeaturesStage
from frepo.spec import Coreset, Dataset, ExperimentSpec, Full, Made, RandomSelection, Recipe
from frepo.spec.application import Baseline


def own_source(spec: ExperimentSpec) -> Source:
    """Return the data that `[distill]` makes."""
    distill = spec.distill
    if isinstance(distill, Full):
        return Source("full", None, distill.epochs)
    return Source(source_name(distill), distill_stage(spec, distill))


def source_name(distill: Made) -> str:
    """Return the name, in tables, of the data that `distill` makes."""
    if distill.learned:
        return "distilled"
    on_pixels = isinstance(distill, Coreset) and distill.on == "pixels"
    return f"{distill.method}_pixels" if on_pixels else distill.method


def baseline_source(spec: ExperimentSpec, name: Baseline, full_epochs: int, feature_epochs: int) -> Source:
    """Return the baseline: as many real images as `[distill]` makes, or all of them."""
    if name == "full":
        return Source("full", None, full_epochs)
    return Source(name, distill_stage(spec, chosen(spec, name, feature_epochs)))


def drawn(spec: ExperimentSpec) -> RandomSelection:
    """Return the table that draws as many real images as `[distill]` makes."""
    return RandomSelection(method="random", **_size(spec))


def chosen(spec: ExperimentSpec, name: Any, feature_epochs: int) -> RandomSelection | Coreset:
    """Return the table that draws or chooses as many real images as `[distill]` makes."""
    if name == "random":
        return drawn(spec)
    method: Any = name.removesuffix("_pixels")
    if name != method:
        return Coreset(method=method, on="pixels", **_size(spec))
    return Coreset(method=method, on="features", epochs=feature_epochs, **_size(spec))


def _size(spec: ExperimentSpec) -> dict[str, Any]:
    assert not isinstance(spec.distill, Full)
    return {"ipc": spec.distill.ipc, "validation_fraction": spec.distill.validation_fraction}


def distill_stage(
    spec: ExperimentSpec,
    distill: Made,
    *,
    suffix: str = "",
    dataset: Dataset | None = None,
    seed: int | None = None,
) -> Stage:
    """Return the stage that makes data by `distill`; `dataset` and `seed` replace those of the spec."""
    seed, dataset = spec.seed if seed is None else seed, dataset or spec.dataset
    work = DistillStage(
        seed=seed,
        dataset=dataset,
        distill=distill.resolved(dataset.name),
        method_version=distill.version,
        architecture=spec.architecture if "architecture" in distill.reads else None,
        pool=spec.pool if "pool" in distill.reads else None,
    )
    needs = ()
    if distill.feature_epochs is not None:
        needs = (_features_stage(spec, distill, dataset, seed, suffix),)
    name = distill.method if distill.learned else source_name(distill)
    return Stage(name + suffix, work, needs)


def _features_stage(spec: ExperimentSpec, distill: Made, dataset: Dataset, seed: int, suffix: str) -> Stage:
    work = FeaturesStage(
        seed=seed,
        dataset=dataset,
        architecture=spec.architecture,
        recipe=Recipe(num_models=1, warmup_steps=0, augmentation=()),
        source="full",
        epochs=distill.feature_epochs,
        validation_fraction=distill.validation_fraction,
    )
    return Stage(f"features{suffix}", work)

"""Stages of class-incremental learning: a memory for each task, networks after each task."""

import hashlib

from frepo.plan.evaluations import recipe_for, with_normalization
from frepo.plan.sources import chosen, distill_stage, source_name
from frepo.plan.stage import Source, Stage
from frepo.plan.work import ContinualStage
from frepo.spec import Continual, Dataset, ExperimentSpec, Full


def continual_stages(spec: ExperimentSpec, application: Continual) -> list[Stage]:
    """Return the evaluations after each task, for each seed and memory; each needs the memories of the tasks so far."""
    assert not isinstance(spec.distill, Full)
    stages: list[Stage] = []
    for number, seed in enumerate(application.seeds):
        order = application.class_orders[number] if application.class_orders else _drawn_order(seed, application)
        for name in (source_name(spec.distill), *application.baselines):
            stages += _course(spec, application, seed, order, name)
    return stages


def _course(
    spec: ExperimentSpec, application: Continual, seed: int, order: tuple[int, ...], source: str
) -> list[Stage]:
    assert not isinstance(spec.distill, Full)
    size = len(order) // application.num_steps
    first = order[:size]
    memories: list[Stage] = []
    stages: list[Stage] = []
    for step in range(1, application.num_steps + 1):
        suffix = f"-seed{seed}-step{step}"
        classes = order[size * (step - 1) : size * step]
        if source != "full":
            own = source == source_name(spec.distill)
            distill = spec.distill if own else chosen(spec, source, application.feature_epochs)
            part = _part(spec, classes, order, first)
            memories.append(distill_stage(spec, distill, suffix=suffix, dataset=part, seed=seed))
        epochs = application.full_epochs if source == "full" else None
        work = ContinualStage(
            seed=seed,
            dataset=_part(spec, order[: size * step], order, first),
            architecture=with_normalization(spec, application.normalization),
            recipe=recipe_for(application, Source(source, memories[0] if memories else None, epochs), spec.dataset),
            source=source,
            epochs=epochs,
            validation_fraction=spec.distill.validation_fraction,
            step=step,
            num_steps=application.num_steps,
        )
        stages.append(Stage(f"continual-{source}{suffix}", work, tuple(memories)))
    return stages


def _part(spec: ExperimentSpec, classes: tuple[int, ...], order: tuple[int, ...], first: tuple[int, ...]) -> Dataset:
    """Return the data set of some of a seed's classes; its preprocessing is fitted to those of the first task only.

    So all memories are inputs of the same kind, and of later classes only their number is known. Labels cover all
    classes of the seed's order (as in the authors' code), so that a memory must tell its own classes from all others,
    not only from each other.
    """
    preprocess = spec.dataset.preprocess.model_copy(update={"fitted_to": first})
    update = {"classes": classes, "label_classes": len(order), "preprocess": preprocess}
    return spec.dataset.model_copy(update=update)


def _drawn_order(seed: int, application: Continual) -> tuple[int, ...]:
    """Return the order of a seed, by digests: no version of a random number generator changes it."""
    assert application.num_classes is not None
    return tuple(sorted(range(application.num_classes), key=lambda c: hashlib.sha256(f"{seed} {c}".encode()).digest()))

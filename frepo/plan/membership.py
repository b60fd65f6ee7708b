"""Stages of membership inference: networks exposed to members and non-members, and attacks on them."""

from frepo.plan.evaluations import recipe_for, with_normalization
from frepo.plan.sources import distill_stage, source_name
from frepo.plan.stage import Source, Stage
from frepo.plan.work import AttackStage, ExposeStage
from frepo.spec import Dataset, ExperimentSpec, Full, Membership

SOURCES = ("distilled", "members")


def membership_stages(spec: ExperimentSpec, application: Membership) -> list[Stage]:
    """Return the attacks for each chunk of members, training length and source of the attacked networks."""
    return [
        _attack_stage(spec, application, chunk, steps, source)
        for chunk in application.chunk_indices
        for source in SOURCES
        for steps in application.train_steps
    ]


def _attack_stage(spec: ExperimentSpec, application: Membership, chunk: int, steps: int, source: str) -> Stage:
    needs = [_expose_stage(spec, application, chunk, steps, source)]
    if "lira" in application.attacks:
        needs.append(_expose_stage(spec, application, chunk, steps, "shadow"))
    work = AttackStage(
        seed=spec.seed,
        chunk_index=chunk,
        train_steps=steps,
        source=source,
        loss=application.loss,
        attacks=application.attacks,
    )
    return Stage(f"attack-{source}-chunk{chunk}-{steps}", work, tuple(needs))


def _expose_stage(spec: ExperimentSpec, application: Membership, chunk: int, steps: int, source: str) -> Stage:
    assert not isinstance(spec.distill, Full)
    members = _members(spec, application, chunk)
    own = distill_stage(spec, spec.distill, suffix=f"-chunk{chunk}", dataset=members)
    data = Source(source_name(spec.distill), own) if source == "distilled" else Source(source, None)
    recipe = recipe_for(application, data, members)
    recipe = recipe.model_copy(update={"steps": steps, "warmup_steps": recipe.warmup_of(steps)})
    if source == "shadow":
        recipe = recipe.model_copy(update={"num_models": application.shadow_models})
    work = ExposeStage(
        seed=spec.seed,
        dataset=members,
        architecture=with_normalization(spec, application.normalization),
        recipe=recipe,
        source=source,
        epochs=None,
        validation_fraction=spec.distill.validation_fraction if source == "distilled" else None,
    )
    return Stage(f"expose-{source}-chunk{chunk}-{steps}", work, (own,) if source == "distilled" else ())


def _members(spec: ExperimentSpec, application: Membership, chunk: int) -> Dataset:
    return spec.dataset.model_copy(update={"chunk_size": application.chunk_size, "chunk_index": chunk})

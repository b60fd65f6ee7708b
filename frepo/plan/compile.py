"""From a spec to its plan; pure, reads no data."""

from collections.abc import Iterator, Sequence

from frepo.plan.continual import continual_stages
from frepo.plan.evaluations import evaluate_stage, fair_stage, with_normalization
from frepo.plan.membership import membership_stages
from frepo.plan.sources import baseline_source, own_source
from frepo.plan.stage import Plan, Source, Stage
from frepo.spec import Continual, CrossArchitecture, Evaluate, ExperimentSpec, FairScores, Membership


def compile_plan(spec: ExperimentSpec) -> Plan:
    """Return the stages that compute `spec`."""
    last: list[Stage] = []
    for application in spec.application:
        match application:
            case Evaluate():
                network = with_normalization(spec, application.normalization)
                sources = _sources(spec, application)
                last += [evaluate_stage(spec, application, source, network) for source in sources]
            case CrossArchitecture():
                last += [
                    evaluate_stage(spec, application, source, network)
                    for network in application.networks()
                    for source in _sources(spec, application)
                ]
            case FairScores():
                last.append(fair_stage(spec, application))
            case Continual():
                last += continual_stages(spec, application)
            case Membership():
                last += membership_stages(spec, application)
    own = own_source(spec).stage
    if not spec.application and own is not None:
        last.append(own)
    unique: dict[str, Stage] = {}
    for stage in _in_order(last):
        unique.setdefault(stage.fingerprint, stage)
    return Plan(spec, tuple(unique.values()))


def _in_order(stages: Sequence[Stage]) -> Iterator[Stage]:
    for stage in stages:
        yield from _in_order(stage.needs)
        yield stage


def _sources(spec: ExperimentSpec, application: Evaluate | CrossArchitecture) -> list[Source]:
    epochs = application.full_epochs, application.feature_epochs
    return [own_source(spec), *(baseline_source(spec, name, *epochs) for name in application.baselines)]

"""From a spec to the stages that compute it."""

from frepo.plan.compile import compile_plan
from frepo.plan.evaluations import FairParts
from frepo.plan.stage import Plan, Stage
from frepo.plan.work import (
    AttackStage,
    ContinualStage,
    DistillStage,
    EvaluateStage,
    Evaluation,
    ExposeStage,
    FairScoresStage,
    FeaturesStage,
    OfImages,
    TuneStage,
)

__all__ = [
    "AttackStage",
    "ContinualStage",
    "DistillStage",
    "EvaluateStage",
    "Evaluation",
    "ExposeStage",
    "FairParts",
    "FairScoresStage",
    "FeaturesStage",
    "OfImages",
    "Plan",
    "Stage",
    "TuneStage",
    "compile_plan",
]

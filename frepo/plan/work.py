"""What a stage computes: tables that are hashed whole, so that they hold all that a result depends on and no more."""

from typing import Literal

from frepo.spec import Architecture, Dataset, Made, Pool, Recipe
from frepo.spec.application import Attack
from frepo.spec.recipe import Loss
from frepo.spec.table import Table


class DistillStage(Table):
    """Makes distilled data: learned images, or real ones where the method only selects."""

    kind: Literal["distill"] = "distill"
    seed: int
    dataset: Dataset
    distill: Made
    method_version: int
    """Of the method's numerics."""
    architecture: Architecture | None
    """None where the method has no network, like `pool`: what is not read is not part of the identity."""
    pool: Pool | None


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


class FeaturesStage(Evaluation):
    """Trains one network on all real images, on whose features images are chosen."""

    kind: Literal["features"] = "features"


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


class ContinualStage(Evaluation):
    """Trains networks on the memories of the steps so far and tests them on all classes seen, `dataset.classes`."""

    kind: Literal["continual"] = "continual"
    step: int
    """1 for the first."""
    num_steps: int


class ExposeStage(Evaluation):
    """Trains networks and keeps what they say of members, `dataset`, and non-members, its test images."""

    kind: Literal["expose"] = "expose"
    """The source is `distilled`, `members`, or `shadow`: training images that are no members."""


class AttackStage(Table):
    """Attacks the networks of the exposure that it needs; the second one is that of the shadow networks."""

    kind: Literal["attack"] = "attack"
    seed: int
    chunk_index: int
    train_steps: int
    source: str
    loss: Loss
    """With which the networks were trained, and by which their examples are told apart."""
    attacks: tuple[Attack, ...]


OfImages = DistillStage | FeaturesStage | TuneStage | EvaluateStage | ContinualStage | ExposeStage
"""Works that read a data set."""

Work = OfImages | FairScoresStage | AttackStage

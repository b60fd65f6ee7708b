"""The work of stages: tables that are hashed whole, so they hold all that a result depends on and nothing else."""

from typing import Literal

from frepo.spec import Architecture, Dataset, Made, Pool, Recipe
from frepo.spec.application import Attack
from frepo.spec.recipe import Loss
from frepo.spec.table import Table


class DistillStage(Table):
    """Makes distilled data: learned images, or real images if the method only selects."""

    kind: Literal["distill"] = "distill"
    seed: int
    dataset: Dataset
    distill: Made
    method_version: int
    """Version of the method's numerics."""
    architecture: Architecture | None
    """None if the method has no network, as for `pool`: a table that is not read is not part of the identity."""
    pool: Pool | None


class Evaluation(Table):
    """Networks trained on one source of data."""

    seed: int
    dataset: Dataset
    architecture: Architecture
    recipe: Recipe
    source: str
    """Source of the data: `distilled`, `full`, or the name of the selection of real images."""
    epochs: int | None
    """Passes over the data if it is all real images; None if the recipe gives the number of steps."""
    validation_fraction: float | None


class FeaturesStage(Evaluation):
    """Trains one network on all real images, whose features serve to choose images."""

    kind: Literal["features"] = "features"


class TuneStage(Evaluation):
    """Trains networks with one candidate for the learning rate and scores them on held-out training images."""

    kind: Literal["tune"] = "tune"


class EvaluateStage(Evaluation):
    """Trains networks and tests them; with several tunings, by the best learning rate."""

    kind: Literal["evaluate"] = "evaluate"


class FairScoresStage(Table):
    """Scores computed from the six evaluations that it needs, in the order of `FairParts`."""

    kind: Literal["fair_scores"] = "fair_scores"
    improvement_weight: float
    augmented_weight: float


class ContinualStage(Evaluation):
    """Trains networks on the memories of the tasks so far and tests them on all classes seen, `dataset.classes`."""

    kind: Literal["continual"] = "continual"
    step: int
    """Number of the task, 1 for the first."""
    num_steps: int


class ExposeStage(Evaluation):
    """Trains networks and keeps their outputs for members, `dataset`, and non-members, its test images."""

    kind: Literal["expose"] = "expose"
    """The source is `distilled`, `members`, or `shadow`: training images that are not members."""


class AttackStage(Table):
    """Attacks the networks of the first exposure that it needs; the second one holds the shadow networks."""

    kind: Literal["attack"] = "attack"
    seed: int
    chunk_index: int
    train_steps: int
    source: str
    loss: Loss
    """Loss of the networks' training, by which their examples are told apart."""
    attacks: tuple[Attack, ...]


OfImages = DistillStage | FeaturesStage | TuneStage | EvaluateStage | ContinualStage | ExposeStage
"""Works that read a data set."""

Work = OfImages | FairScoresStage | AttackStage

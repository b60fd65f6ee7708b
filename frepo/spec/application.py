"""The tables `[[application]]`: what is done with the distilled data."""

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from frepo.spec.architecture import Architecture, Normalization
from frepo.spec.recipe import Recipe
from frepo.spec.table import Count

Baseline = Literal[
    "random",
    "herding",
    "k_center",
    "k_means",
    "herding_features",
    "k_center_features",
    "k_means_features",
    "full",
]


class Compared(Recipe):
    """A recipe that other sources of data go through too."""

    baselines: Annotated[tuple[Baseline, ...], Field(strict=False)] = ()
    """Real images evaluated the same way: as many, drawn at `random` or chosen by `herding`, `k_center` or `k_means` on
    pixels, or (`herding_features`, ...) on the features of a network trained on all of them; `full`: all of them."""

    full_epochs: Count = 50
    """Passes over all real images of the networks of the baseline `full`, in place of `steps`."""

    feature_epochs: Count = 10
    """Passes over all real images of the network on whose features the baselines `..._features` choose."""

    @field_validator("baselines")
    @classmethod
    def baselines_must_differ(cls, value: tuple[Baseline, ...]) -> tuple[Baseline, ...]:
        """Reject a list that names a baseline twice."""
        if len(set(value)) < len(value):
            raise ValueError("names an entry twice")
        return value


class Evaluate(Compared):
    """Train fresh networks on the distilled data and test them on the whole test set."""

    type: Literal["evaluate"]
    """Train fresh networks of the spec's architecture and report their test accuracy."""

    normalization: Normalization = "identity"
    """Normalisation of the evaluated networks, in place of the one in `[architecture]`."""


class CrossArchitecture(Compared):
    """Evaluate on other architectures than the one that the images were learned with."""

    type: Literal["cross_architecture"]
    """Train fresh networks of several architectures and report their test accuracy side by side."""

    architectures: Annotated[tuple[Architecture, ...], Field(strict=False, min_length=1)]
    """Tables as `[architecture]`, such as `{ type = "vgg11", width = 128 }`."""

    normalizations: Annotated[tuple[Normalization, ...], Field(strict=False)] = ()
    """Each architecture is evaluated with each of these. Left out: with its own `normalization`."""

    @model_validator(mode="after")
    def normalization_must_be_said_once(self) -> "CrossArchitecture":
        """Reject a normalisation of an architecture that `normalizations` would replace."""
        if len(set(self.normalizations)) < len(self.normalizations):
            raise ValueError("normalizations names an entry twice")
        if self.normalizations and any("normalization" in entry.model_fields_set for entry in self.architectures):
            raise ValueError("normalizations replaces the normalization of each architecture: set one or the other")
        if len(set(self.architectures)) < len(self.architectures):
            raise ValueError("architectures names an entry twice")
        return self

    def networks(self) -> tuple[Architecture, ...]:
        """Return the architectures to evaluate, normalisation included."""
        if not self.normalizations:
            return self.architectures
        return tuple(
            entry.model_copy(update={"normalization": normalization})
            for entry in self.architectures
            for normalization in self.normalizations
        )


class FairScores(Recipe):
    """Say what of an accuracy is due to the images, and not to soft labels, augmentation or tuning (DD-Ranking)."""

    type: Literal["fair_scores"]
    """Hard-label recovery, improvement over random images, label-robust and augmentation-robust score."""

    normalization: Normalization = "identity"
    """Normalisation of the evaluated networks, in place of the one in `[architecture]`."""

    full_epochs: Count = 50
    """Passes over all real images of the networks that the recovery is held against."""

    improvement_weight: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Weight of the improvement over random images in the label-robust score; the rest is that of the recovery."""

    augmented_weight: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Weight of the improvement with augmentation in the augmentation-robust score; the rest is that without."""

    @model_validator(mode="after")
    def there_must_be_an_augmentation(self) -> "FairScores":
        """Reject a recipe without augmentation: the score compares training with and without it."""
        if not self.augmentation:
            raise ValueError("augmentation = [] leaves nothing for the augmentation-robust score to compare")
        return self


Application = Annotated[Evaluate | CrossArchitecture | FairScores, Field(discriminator="type")]

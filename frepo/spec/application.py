"""The tables `[[application]]`: what is done with the distilled data."""

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from frepo.spec.architecture import Normalization
from frepo.spec.table import Count, LearningRate, Table

Baseline = Literal["random"]
Augmentation = Literal["flip", "color", "crop", "rotate", "translate", "cutout"]

ALL_AUGMENTATIONS: tuple[Augmentation, ...] = ("flip", "color", "crop", "rotate", "translate", "cutout")


class Evaluate(Table):
    """Train fresh networks on the distilled data and test them on the whole test set."""

    type: Literal["evaluate"]
    """Train fresh networks of the spec's architecture and report their test accuracy."""

    num_models: Annotated[int, Field(ge=1, le=1000)] = 5
    """Number of networks, each with its own initialisation and augmentation."""

    baselines: Annotated[tuple[Baseline, ...], Field(strict=False)] = ()
    """Other sources of data of the same size, evaluated the same way: `random` real images."""

    normalization: Normalization = "identity"
    """Normalisation of the evaluated networks, in place of the one in `[architecture]`."""

    steps: Count | None = None
    """Training steps of each network. Left out: 1,000 for up to 10 images, 2,000 up to 100, 5,000 up to 500,
    10,000 up to 1,000 and 40,000 for more."""

    batch_size: Count = 500
    """Images in one training step, or all of them where there are fewer."""

    learning_rate: LearningRate = 3e-4
    """Peak learning rate of Adam; after the warm-up a cosine takes it to a hundredth."""

    warmup_steps: Annotated[int, Field(ge=0)] = 500
    """Steps over which the learning rate rises linearly from 0."""

    augmentation: Annotated[tuple[Augmentation, ...], Field(strict=False)] = ALL_AUGMENTATIONS
    """Operations of which one is drawn for each batch; `[]` for none. Leave out `flip` for digits."""

    @field_validator("baselines", "augmentation")
    @classmethod
    def entries_must_differ(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        """Reject a list that names an entry twice."""
        if len(set(value)) < len(value):
            raise ValueError("names an entry twice")
        return value

    @model_validator(mode="after")
    def warmup_must_end_before_training(self) -> "Evaluate":
        """Reject a warm-up that leaves no step for the cosine."""
        shortest = self.steps if self.steps is not None else 1000
        if self.warmup_steps >= shortest:
            raise ValueError(f"warmup_steps = {self.warmup_steps} must be less than steps = {shortest}")
        return self


Application = Evaluate

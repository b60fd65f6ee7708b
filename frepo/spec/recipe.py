"""Training of networks on given data, and their tests: the fields common to all applications."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from frepo.spec.names import MIRROR_CHANGES_CLASS, family_of
from frepo.spec.table import Count, Distinct, Few, LearningRate, Positive, Steps, Table, Waiting

Augmentation = Literal["flip", "color", "crop", "rotate", "translate", "cutout"]
AugmentationMode = Literal["one", "all"]
Predictor = Literal["network", "krr"]
Loss = Literal["mse", "xent", "soft_xent"]
Labels = Literal["soft", "hard"]

ALL_AUGMENTATIONS: tuple[Augmentation, ...] = ("flip", "color", "crop", "rotate", "translate", "cutout")
SHORTEST_STEPS = 1000
SHORT_WARMUP = 5


def default_augmentation(dataset: str) -> tuple[Augmentation, ...]:
    """Return the operations for a data set if a spec names none: those of the paper."""
    if family_of(dataset) in MIRROR_CHANGES_CLASS:
        return tuple(name for name in ALL_AUGMENTATIONS if name != "flip")
    return ALL_AUGMENTATIONS


def hard_labels(loss: Loss) -> dict[str, Any]:
    """Return the fields of a recipe with `loss` that differ for data whose labels are classes.

    Recipes that differ only in wording become equal.
    """
    return {"labels": "hard", "loss": "xent" if loss == "soft_xent" else loss, "temperature": None}


class Recipe(Table):
    """Training of networks on given data, and their tests on the whole test set."""

    num_models: Few = 5
    """Number of networks, each with its own initialisation and augmentation."""

    steps: Steps | None = None
    """Training steps of each network. Left out: 1,000 for up to 10 images, 2,000 up to 100, 5,000 up to 500,
    10,000 up to 1,000 and 40,000 for more."""

    batch_size: Count = 500
    """Images in one training step, at most all of them."""

    loss: Loss = "mse"
    """`mse`: half the squared error of the logits against centred labels; `xent`: cross-entropy against the class;
    `soft_xent`: cross-entropy against the softmax of the labels."""

    temperature: Positive | None = None
    """Divisor of the labels in `soft_xent`, before the softmax. Left out: 1."""

    labels: Labels = "soft"
    """Train on the labels as learned, or on the class with the largest label. Real images have hard labels."""

    optimizer: Literal["adam", "sgd", "lamb"] = "adam"
    """Optimiser of the networks."""

    momentum: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Momentum of `sgd`. Left out: 0.9."""

    weight_decay: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Decay of the weights, decoupled from the gradient (AdamW, SGDW)."""

    learning_rate: LearningRate = 3e-4
    """Peak learning rate."""

    learning_rates: Annotated[tuple[LearningRate, ...], Field(strict=False), Distinct] = ()
    """Candidates in place of `learning_rate`: networks are trained with each on each source of data, and the one with
    the highest mean accuracy on held-out training images wins (needs `validation_fraction` in `[distill]`)."""

    schedule: Literal["cosine", "step", "constant"] = "cosine"
    """Learning rate after the warm-up: `cosine` to a hundredth, `step` to a tenth halfway, or `constant`."""

    warmup_steps: Waiting = 500
    """Steps over which the learning rate rises linearly from 0."""

    augmentation: Annotated[tuple[Augmentation, ...] | None, Field(strict=False), Distinct] = None
    """Operations on each batch; `[]` for no augmentation. Left out: all operations, without `flip` for data sets that
    are never mirrored: `digits`, `mnist`, `fashion_mnist`, `svhn_cropped`, `emnist`, `kmnist`, `mnist_corrupted`,
    `binary_alpha_digits`, `cmaterdb` and `omniglot`."""

    augmentation_mode: AugmentationMode = "one"
    """`one`: one operation drawn for each batch; `all`: all operations, in this order."""

    predictors: Annotated[tuple[Predictor, ...], Field(strict=False, min_length=1), Distinct] = ("network",)
    """Predictors: the trained `network`, and kernel ridge regression (`krr`) from the training images, on the network's
    features."""

    krr_reg: Positive = 1e-6
    """Ridge of `krr` as a share of the mean diagonal of the kernel."""

    accuracy_points: Few = 5
    """Number of points of the curve of test accuracy against training steps, evenly spread; the last one is the
    result."""

    @property
    def operations(self) -> tuple[Augmentation, ...]:
        """The augmentation of a recipe of a stage, for which the plan has filled in the default."""
        assert self.augmentation is not None
        return self.augmentation

    def warmup_of(self, steps: int) -> int:
        """Return the warm-up's steps in a training of `steps` steps: a fifth of these if it would not end earlier."""
        return self.warmup_steps if self.warmup_steps < steps else steps // SHORT_WARMUP

    @model_validator(mode="after")
    def warmup_must_end_before_training(self) -> "Recipe":
        """Reject a warm-up that leaves no step for the schedule."""
        shortest = self.steps if self.steps is not None else SHORTEST_STEPS
        if self.warmup_steps >= shortest:
            raise ValueError(f"warmup_steps = {self.warmup_steps} must be less than steps = {shortest}")
        return self

    @model_validator(mode="after")
    def every_field_must_be_read(self) -> "Recipe":
        """Reject fields that others leave without effect."""
        if self.temperature is not None and self.loss != "soft_xent":
            raise ValueError("temperature is read by loss = 'soft_xent' only")
        if self.momentum is not None and self.optimizer != "sgd":
            raise ValueError("momentum is read by optimizer = 'sgd' only")
        if self.learning_rates and "learning_rate" in self.model_fields_set:
            raise ValueError("set learning_rate or learning_rates, not both")
        return self

    @model_validator(mode="after")
    def labels_must_suit_the_loss(self) -> "Recipe":
        """Reject soft labels that the loss would harden, and the reverse, so that a spec says what is compared."""
        if self.loss == "xent" and self.labels == "soft":
            raise ValueError("loss = 'xent' needs labels = 'hard'; soft labels go with 'mse' and 'soft_xent'")
        if self.loss == "soft_xent" and self.labels == "hard":
            raise ValueError("loss = 'soft_xent' needs labels = 'soft'; hard labels go with 'mse' and 'xent'")
        return self

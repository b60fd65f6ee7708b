"""Training of networks on given data, and their tests: the fields common to all applications."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from frepo.spec.names import MIRROR_CHANGES_CLASS, family_of
from frepo.spec.table import (
    Count,
    Distinct,
    Epochs,
    Few,
    Grown,
    LearningRate,
    Positive,
    Steps,
    Waiting,
)

Augmentation = Literal["flip", "color", "crop", "rotate", "translate", "cutout", "scale"]
Strategy = Literal["frepo", "dsa"]
Mix = Literal["mixup", "cutmix"]
AugmentationMode = Literal["one", "each", "all"]
Predictor = Literal["network", "krr"]
Loss = Literal["mse", "xent", "soft_xent"]
Labels = Literal["soft", "hard"]
Decay = Literal["decoupled", "coupled"]

OPERATIONS: dict[Strategy, tuple[Augmentation, ...]] = {
    "frepo": ("flip", "color", "crop", "rotate", "translate", "cutout"),
    "dsa": ("color", "crop", "cutout", "flip", "scale", "rotate"),
}
"""What each strategy has, in the order of its authors' code."""
SHORTEST_STEPS = 1000
SHORT_WARMUP = 5


def default_augmentation(dataset: str, strategy: Strategy = "frepo") -> tuple[Augmentation, ...]:
    """Return the operations for a data set if a spec names none: all of the strategy that keep the class."""
    names = OPERATIONS[strategy]
    return tuple(name for name in names if name != "flip") if is_never_mirrored(dataset) else names


def is_never_mirrored(dataset: str) -> bool:
    """Return whether mirror images of a data set may be of another class, or of none."""
    return family_of(dataset) in MIRROR_CHANGES_CLASS


def hard_labels(loss: Loss) -> dict[str, Any]:
    """Return the fields of a recipe with `loss` that differ for data whose labels are classes.

    Recipes that differ only in wording become equal.
    """
    return {"labels": "hard", "loss": "xent" if loss == "soft_xent" else loss, "temperature": None}


def complete(recipe: dict[str, Any]) -> dict[str, Any]:
    """Return a recipe, as JSON, with the fields that it was written without."""
    added = {name: Recipe.model_fields[name].default for name in Recipe.added}
    return {**added, **Recipe().model_dump(mode="json"), **recipe}


class Recipe(Grown):
    """Training of networks on given data, and their tests on the whole test set."""

    added = ("epochs", "decay", "augmentation_strategy", "mirrored", "mix", "mix_alpha")

    num_models: Few = 5
    """Number of networks, each with its own initialisation and augmentation."""

    steps: Steps | None = None
    """Training steps of each network. Left out: 1,000 for up to 10 images, 2,000 up to 100, 5,000 up to 500,
    10,000 up to 1,000 and 40,000 for more."""

    epochs: Epochs | None = None
    """Passes over the images, in place of `steps`."""

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

    decay: Decay = "decoupled"
    """`coupled`: the decay is part of the gradient, before momentum and scaling, as in PyTorch's `SGD` and `Adam`."""

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
    """Operations on each batch; `[]` for no augmentation. Left out: all of the strategy, without `flip` for data sets
    that are never mirrored: `digits`, `mnist`, `fashion_mnist`, `svhn_cropped`, `emnist`, `kmnist`, `mnist_corrupted`,
    `binary_alpha_digits`, `cmaterdb` and `omniglot`."""

    augmentation_mode: AugmentationMode = "one"
    """`one`: one operation drawn for each batch; `each`: one drawn for each image; `all`: all operations, in this
    order."""

    augmentation_strategy: Strategy = "frepo"
    """Strengths of the operations: `frepo`, those of the paper (`translate`, no `scale`); `dsa`, of differentiable
    siamese augmentation (Zhao and Bilen 2021; `scale`, no `translate`), drawn for each image as in its evaluation."""

    mirrored: bool = False
    """Train on the mirror images too, with the same labels. `epochs` go over both; `steps`, left out, follow from the
    number without them."""

    mix: Mix | None = None
    """After the augmentation, mix each image and its target with those of another image of the batch: `mixup` (Zhang et
    al. 2018) blends them, `cutmix` (Yun et al. 2019) pastes a rectangle."""

    mix_alpha: Positive = 1.0
    """The share of an image in its mixture is drawn from Beta(alpha, alpha), once for each batch."""

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
        if self.epochs is None and self.warmup_steps >= shortest:
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
        if self.epochs is not None and self.steps is not None:
            raise ValueError("set steps or epochs, not both")
        if self.decay == "coupled" and self.optimizer == "lamb":
            raise ValueError("decay = 'coupled' is read by optimizer = 'adam' and 'sgd' only")
        if self.mix is None and self.mix_alpha != 1.0:
            raise ValueError("mix_alpha is read by mix = 'mixup' and 'cutmix' only")
        return self

    @model_validator(mode="after")
    def operations_must_be_of_the_strategy(self) -> "Recipe":
        """Reject an operation that the strategy does not have."""
        has = OPERATIONS[self.augmentation_strategy]
        for name in self.augmentation or ():
            if name not in has:
                raise ValueError(
                    f"{name} is no operation of '{self.augmentation_strategy}', which has {', '.join(has)}"
                )
        return self

    @model_validator(mode="after")
    def labels_must_suit_the_loss(self) -> "Recipe":
        """Reject soft labels that the loss would harden, and the reverse, so that a spec says what is compared."""
        if self.loss == "xent" and self.labels == "soft":
            raise ValueError("loss = 'xent' needs labels = 'hard'; soft labels go with 'mse' and 'soft_xent'")
        if self.loss == "soft_xent" and self.labels == "hard":
            raise ValueError("loss = 'soft_xent' needs labels = 'soft'; hard labels go with 'mse' and 'xent'")
        return self

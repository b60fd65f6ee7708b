"""The methods that learn images, each with its fields of the table `[distill]`."""

from typing import Annotated, Literal, get_args

from pydantic import Field, model_validator

from frepo.spec.method import Method, Metric
from frepo.spec.names import MIRROR_CHANGES_CLASS, family_of
from frepo.spec.table import Count, Distinct, Few, Fraction, LearningRate, Positive, Steps


class Frepo(Method):
    """Neural feature regression with pooling (Zhou, Nezhadarya and Ba, NeurIPS 2022)."""

    code = "frepo.methods.frepo.learning:prepare"
    reads = frozenset({"architecture", "pool"})
    learned = "here"
    citation = "neural feature regression with pooling (Zhou, Nezhadarya and Ba, NeurIPS 2022)"
    metrics = {  # noqa: RUF012 (a ClassVar of the base)
        "krr_accuracy": Metric("Regression accuracy on training batches", "share right", logarithmic=False),
        "krr_error": Metric("Regression error on training batches", "half squared error", logarithmic=True),
    }

    method: Literal["frepo"]
    """Learn images and labels by kernel ridge regression on the features of a pool of networks."""

    ipc: Count
    """Images per class."""

    steps: Steps = 500_000
    """Updates of the distilled data."""

    batch_size: Count = 1024
    """Real images in one target batch."""

    learn_labels: bool = True
    """Learn the labels too, with the label-margin term in the loss; otherwise they keep their start values."""

    flip: bool = False
    """Regress on the distilled images and their mirror images (not for digits)."""

    optimizer: Literal["lamb", "adam"] = "lamb"
    """Optimiser of the distilled data."""

    learning_rate: LearningRate = 3e-4
    """Its initial learning rate, which falls along a cosine to a tenth at the last step."""

    validation_fraction: Fraction | None = None
    """Hold out this share of each class's training images; the result is the best of twenty states along the way, by
    the accuracy of predicting these images. Left out: the result is the last state."""

    reg: Positive = 1e-6
    """Ridge as a share of the mean diagonal: reg * tr(K_SS) / n is added to the diagonal of the support's kernel."""


class Rcig(Method):
    """Reparameterised and convexified implicit gradients (Loo, Hasani, Lechner and Rus, ICML 2023)."""

    code = "frepo.methods.rcig.learning:prepare"
    version = 3
    reads = frozenset({"architecture", "pool"})
    learned = "here"
    citation = "reparameterised and convexified implicit gradients (Loo, Hasani, Lechner and Rus, ICML 2023)"
    metrics = {  # noqa: RUF012 (a ClassVar of the base)
        "proxy_accuracy": Metric("Accuracy of the proxy on training batches", "share right", logarithmic=False),
        "inner_loss": Metric("Inner loss", "after the inner solve", logarithmic=True),
        "inner_rate": Metric("Learning rate of the inner solve", "adapted", logarithmic=True),
        "temperature": Metric("Factor of the logits", "learned", logarithmic=False),
    }

    method: Literal["rcig"]
    """Learn images and labels by implicit gradients through networks linearised in their weights."""

    ipc: Count
    """Images per class."""

    steps: Steps = 10_000
    """Updates of the distilled data."""

    batch_size: Count = 1024
    """Real images in one target batch."""

    learn_labels: bool = True
    """Learn the labels too."""

    flip: bool = False
    """Learn from the distilled images and their mirror images (not for digits)."""

    learning_rate: LearningRate = 3e-3
    """Learning rate of AdaBelief for images and labels, the same in all steps."""

    temperature_learning_rate: LearningRate = 0.03
    """Learning rate of AdaBelief for the log of the factor of the logits in the outer loss."""

    l2: Positive = 5e-4
    """Ridge of the inner problem for each distilled image, mirror images not counted."""

    inner_steps: Annotated[Few, Field(ge=2)] = 20
    """Steps of Adam that solve the inner problem. Its learning rate is found on a fresh network, and adapted."""

    hessian_steps: Annotated[Few, Field(ge=2)] = 20
    """Steps of Adam that solve for the product with the inverse Hessian."""

    support_gradients: Count | None = None
    """Distilled images, mirror images counted, through which gradients flow in a step, drawn anew for each; all count
    in the regression. For sets that do not fit into memory. Left out: all."""

    target_gradients: Count | None = None
    """The same of the target batch."""

    max_pool_updates: Few = 15
    """Each step trains its pool network by 1 to this many steps, equally likely."""

    softplus: Annotated[float, Field(ge=0, le=1_000_000)] = 60.0
    """Sharpness s of softplus(s x) / s, in place of ReLU in the pool networks of `type = "conv"`; evaluated ones have
    ReLU. 0 for ReLU in both."""

    ema: Fraction = 0.99
    """Decay of the average over steps that is the result."""

    validation_fraction: Fraction | None = None
    """Hold out this share of each class's training images for choices."""


Siamese = Literal["color", "crop", "cutout", "flip", "scale", "rotate"]


class Dm(Method):
    """Distribution matching (Zhao and Bilen, WACV 2023)."""

    code = "frepo.methods.dm.learning:prepare"
    reads = frozenset({"architecture"})
    learned = "here"
    citation = "distribution matching (Zhao and Bilen, WACV 2023)"
    metrics = {  # noqa: RUF012 (a ClassVar of the base)
        "matching_loss": Metric("Distance between mean features", "squared, summed over classes", logarithmic=True),
    }

    method: Literal["dm"]
    """Learn images whose mean features, under networks initialised anew in each step, match those of the real images of
    their class."""

    ipc: Count
    """Images per class."""

    steps: Steps = 20_000
    """Updates of the distilled images."""

    batch_size: Count = 256
    """Real images of each class in one step, at most as many as the largest class has."""

    learning_rate: LearningRate = 1.0
    """Learning rate of the images, the same in all steps."""

    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """Momentum of the images."""

    augmentation: Annotated[tuple[Siamese, ...] | None, Field(strict=False), Distinct] = None
    """Operations from which each step draws one for each class, the same for its real and its distilled images; `[]`
    for no augmentation. Left out: all operations, without `flip` for data sets that are never mirrored, as in a
    recipe."""

    validation_fraction: Fraction | None = None
    """Hold out this share of each class's training images for choices."""

    def resolved(self, dataset: str) -> "Dm":
        """Return the table with the operations for a data set if it names none."""
        if self.augmentation is not None:
            return self
        mirrored = family_of(dataset) not in MIRROR_CHANGES_CLASS
        operations = tuple(name for name in get_args(Siamese) if mirrored or name != "flip")
        return self.model_copy(update={"augmentation": operations})


Placement = Literal["random", "end", "adaptive"]


class RatBptt(Method):
    """Randomly truncated backpropagation through time (Feng, Vedantam and Kempe, ICLR 2024)."""

    code = "frepo.methods.rat_bptt.learning:prepare"
    reads = frozenset({"architecture"})
    learned = "here"
    citation = "randomly truncated backpropagation through time (Feng, Vedantam and Kempe, ICLR 2024)"
    metrics = {  # noqa: RUF012 (a ClassVar of the base)
        "trained_loss": Metric("Loss of trained networks on training batches", "cross-entropy", logarithmic=False),
        "trained_accuracy": Metric(
            "Accuracy of trained networks on training batches", "share right", logarithmic=False
        ),
        "gradient_norm": Metric("Norm of the images' gradient", "before it is clipped", logarithmic=True),
        "prefix": Metric("Steps before the window", "without gradient", logarithmic=False),
    }

    method: Literal["rat_bptt"]
    """Learn images by differentiating through a window of the steps that train a network on them."""

    ipc: Count
    """Images per class."""

    steps: Steps = 600_000
    """Updates of the distilled images."""

    batch_size: Count = 5000
    """Real images on which the trained network is tested in one step."""

    total: Few = 200
    """Steps of Adam that train a network on the distilled images, at most."""

    window: Few = 60
    """How many of these steps are differentiated, at most `total`."""

    placement: Placement = "random"
    """Where the window lies: after a number of steps drawn anew in each update, equally likely up to `total - window`;
    at the end; or `adaptive`, drawn by the norms of the gradients along the way, as AT-BPTT does."""

    window_change: Annotated[int, Field(ge=0, le=1000)] = 10
    """By how much an adaptive window grows and shrinks; read with `placement = "adaptive"` only."""

    inner_learning_rate: LearningRate = 1e-3
    """Learning rate of Adam in these steps."""

    batch_per_class: Count | None = None
    """Distilled images of each class in one of these steps. Left out: all."""

    classes_per_batch: Count | None = None
    """Classes in one of these steps, drawn anew for each. Left out: all."""

    learning_rate: LearningRate = 1e-3
    """Learning rate of Adam for the images, and for the labels if they are learned."""

    learn_labels: bool = False
    """Learn the labels too, which start one-hot and stay at 0 or above."""

    augmentation: Annotated[tuple[Siamese, ...] | None, Field(strict=False), Distinct] = None
    """Operations from which one is drawn for each batch, of distilled and of real images; `[]` for no augmentation.
    Left out: `flip` and `rotate`, without `flip` for data sets that are never mirrored, as in a recipe."""

    validation_fraction: Fraction | None = None
    """Hold out this share of each class's training images for choices."""

    @model_validator(mode="after")
    def window_must_fit(self) -> "RatBptt":
        """Reject a window that does not fit into the steps, at its smallest or largest."""
        if self.window > self.total:
            raise ValueError(f"window = {self.window} is more than total = {self.total}")
        if self.placement != "adaptive":
            if "window_change" in self.model_fields_set:
                raise ValueError("window_change is read with placement = 'adaptive' only")
        elif self.change >= self.window:
            raise ValueError(f"window_change = {self.change} leaves nothing of window = {self.window}")
        elif self.longest_window > self.total:
            raise ValueError(f"window + window_change = {self.longest_window} is more than total = {self.total}")
        return self

    @property
    def change(self) -> int:
        """By how much the window grows and shrinks."""
        return self.window_change if self.placement == "adaptive" else 0

    @property
    def longest_window(self) -> int:
        """The most steps that are differentiated in an update."""
        return self.window + self.change

    def resolved(self, dataset: str) -> "RatBptt":
        """Return the table with the operations for a data set if it names none."""
        if self.augmentation is not None:
            return self
        operations: tuple[Siamese, ...] = (
            ("rotate",) if family_of(dataset) in MIRROR_CHANGES_CLASS else ("flip", "rotate")
        )
        return self.model_copy(update={"augmentation": operations})

"""The table `[distill]`: the method of making the images."""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Self, get_args

from pydantic import Field, model_validator

from frepo.spec.names import MIRROR_CHANGES_CLASS, family_of
from frepo.spec.table import Count, Distinct, Epochs, Few, Fraction, LearningRate, Positive, Steps, Table


class Metric(NamedTuple):
    """Presentation, in reports, of a metric of a method's steps."""

    title: str
    axis: str
    logarithmic: bool


class Method(Table):
    """A method of making a few labelled images: everything that the rest of the program knows of it besides its fields.

    Attributes:
        code: module and function of its `prepare`, see `frepo.methods.base`; imported at first use.
        version: of its numerics; raised when its code changes the data that it makes.
        reads: the tables of the spec that it reads besides its own and `[dataset]`.
        learned: where its images are learned; None if they are real images.
        citation: its paper, if images are learned here.
        metrics: the metrics of its steps that reports draw, by name.
    """

    code: ClassVar[str]
    version: ClassVar[int] = 1
    reads: ClassVar[frozenset[Literal["architecture", "pool"]]] = frozenset()
    learned: ClassVar[Literal["here", "elsewhere"] | None] = None
    citation: ClassVar[str] = ""
    metrics: ClassVar[Mapping[str, Metric]] = {}

    def load(self) -> Callable[..., Any]:
        """Return its `prepare`."""
        module, _, name = self.code.partition(":")
        return getattr(import_module(module), name)

    @property
    def feature_epochs(self) -> int | None:
        """Passes over all real images by the network whose features it needs; None if it needs no features."""
        return None

    def resolved(self, dataset: str) -> Self:
        """Return the table resolved for a data set, with the defaults that depend on it."""
        del dataset
        return self


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

    max_pool_updates: Few = 15
    """Each step trains its pool network by 1 to this many steps, equally likely."""

    softplus: Positive = 60.0
    """Sharpness s of softplus(s x) / s, in place of ReLU in the pool networks of `type = "conv"`; evaluated ones have
    ReLU."""

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


class RandomSelection(Method):
    """Real images drawn at random, the same number from each class."""

    code = "frepo.methods.chosen:prepare_random"

    method: Literal["random"]
    """Draw real images instead of learning them."""

    ipc: Count
    """Images per class."""

    validation_fraction: Fraction | None = None
    """Hold out this share of each class's training images for choices."""


class Coreset(Method):
    """Real images chosen class by class to represent their class."""

    code = "frepo.methods.chosen:prepare_coreset"

    method: Literal["herding", "k_center", "k_means"]
    """`herding`: their mean follows the mean of the class; `k_center`: each is far from the others; `k_means`: the
    nearest images to the centres of clusters."""

    ipc: Count
    """Images per class."""

    on: Literal["pixels", "features"] = "pixels"
    """Choose by preprocessed pixels, or by the features of a network trained on all real images."""

    epochs: Epochs = 10
    """Passes over all real images by that network."""

    validation_fraction: Fraction | None = None
    """Hold out this share of each class's training images for choices."""

    @model_validator(mode="after")
    def epochs_must_be_read(self) -> "Coreset":
        """Reject epochs if no network is trained."""
        if self.on == "pixels" and "epochs" in self.model_fields_set:
            raise ValueError("epochs is read with on = 'features' only")
        return self

    @property
    def feature_epochs(self) -> int | None:
        """Passes over all real images by the network whose features it needs; None if it needs no features."""
        return self.epochs if self.on == "features" else None


class Full(Table):
    """All real images: the reference without distilling."""

    method: Literal["full"]
    """Use all real images instead of learning a few."""

    epochs: Epochs = 50
    """Passes over them by each evaluated network, in place of `steps`."""

    validation_fraction: Fraction | None = None
    """Hold out this share of each class's training images for choices."""


class Imported(Method):
    """Images made elsewhere; `frepo import` writes this table."""

    code = "frepo.methods.imported:prepare"
    learned = "elsewhere"

    method: Literal["imported"]
    """Use imported images and labels."""

    ipc: Count
    """Images per class."""

    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    """Digest of the imported images and labels."""

    validation_fraction: Fraction | None = None
    """Hold out this share of each class's training images for choices; the images may have been made from them."""


Made = Frepo | Rcig | Dm | RandomSelection | Coreset | Imported
"""The methods."""

Distill = Annotated[Made | Full, Field(discriminator="method")]


def method_tables() -> dict[str, type[Method]]:
    """Return the table of each method, by the values of `method`."""
    return {name: table for table in get_args(Made) for name in get_args(table.model_fields["method"].annotation)}

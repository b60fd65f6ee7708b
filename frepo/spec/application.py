"""The tables `[[application]]`: what is done with the distilled data."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from frepo.spec.architecture import Architecture, Normalization
from frepo.spec.dataset import Class
from frepo.spec.recipe import Recipe
from frepo.spec.table import Count, Distinct, Epochs, Few, Index, Seed, Steps

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

    baselines: Annotated[tuple[Baseline, ...], Field(strict=False), Distinct] = ()
    """Real images evaluated the same way: as many, drawn at `random` or chosen by `herding`, `k_center` or `k_means` on
    pixels, or (`herding_features`, ...) on the features of a network trained on all of them; `full`: all of them."""

    full_epochs: Epochs = 50
    """Passes over all real images of the networks of the baseline `full`, in place of `steps`."""

    feature_epochs: Epochs = 10
    """Passes over all real images of the network on whose features the baselines `..._features` choose."""


class OfOneNetwork(Recipe):
    """A recipe for networks of the spec's architecture."""

    normalization: Normalization = "identity"
    """Normalisation of the evaluated networks, in place of the one in `[architecture]`."""


class Evaluate(Compared, OfOneNetwork):
    """Train fresh networks on the distilled data and test them on the whole test set."""

    type: Literal["evaluate"]
    """Train fresh networks of the spec's architecture and report their test accuracy."""


class CrossArchitecture(Compared):
    """Evaluate on other architectures than the one that the images were learned with."""

    type: Literal["cross_architecture"]
    """Train fresh networks of several architectures and report their test accuracy side by side."""

    architectures: Annotated[tuple[Architecture, ...], Field(strict=False, min_length=1), Distinct]
    """Tables as `[architecture]`, such as `{ type = "vgg11", width = 128 }`."""

    normalizations: Annotated[tuple[Normalization, ...], Field(strict=False), Distinct] = ()
    """Each architecture is evaluated with each of these. Left out: with its own `normalization`."""

    @model_validator(mode="after")
    def normalization_must_be_said_once(self) -> "CrossArchitecture":
        """Reject a normalisation of an architecture that `normalizations` would replace."""
        if self.normalizations and any("normalization" in entry.model_fields_set for entry in self.architectures):
            raise ValueError("normalizations replaces the normalization of each architecture: set one or the other")
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


Order = Annotated[tuple[Class, ...], Field(strict=False), Distinct]
Memory = Literal["random", "herding", "k_center", "k_means", "full"]


class Lone(OfOneNetwork):
    """A recipe of an application that makes no choice of its own."""

    @model_validator(mode="after")
    def there_is_no_choice(self) -> Self:
        """Reject candidates that nothing would choose among."""
        if self.learning_rates:
            raise ValueError("learning_rates is not read by this application: set learning_rate")
        return self


class Continual(Lone):
    """Class-incremental learning: the classes come in steps, of which only distilled images are remembered."""

    type: Literal["continual"]
    """Distil each step's classes by themselves; after each, train networks on all memories and test classes seen."""

    num_steps: Annotated[Few, Field(ge=2)]
    """Steps into which the classes are split, equally many each."""

    num_classes: Annotated[Count, Field(ge=2)] | None = None
    """Number of classes of the data set, whose order is drawn from each seed. Left out: `class_orders` lists them."""

    seeds: Annotated[tuple[Seed, ...], Field(strict=False, min_length=1), Distinct] = (0,)
    """Seeds of everything, each a whole course of steps."""

    class_orders: Annotated[tuple[Order, ...], Field(strict=False)] = ()
    """The order of the classes for each seed, in place of drawn ones."""

    baselines: Annotated[tuple[Memory, ...], Field(strict=False), Distinct] = ()
    """Other memories: as many real images, drawn or chosen from each step's classes; `full`: all real images seen."""

    full_epochs: Epochs = 50
    """Passes over all real images of the networks of the baseline `full`, in place of `steps`."""

    @model_validator(mode="after")
    def classes_must_be_known(self) -> "Continual":
        """Reject orders that are missing, of another number than the seeds, or that do not split evenly."""
        if (self.num_classes is None) == (not self.class_orders):
            raise ValueError("set num_classes (orders are drawn) or class_orders (one for each seed), one of them")
        if self.class_orders and len(self.class_orders) != len(self.seeds):
            raise ValueError(f"class_orders has {len(self.class_orders)} orders for {len(self.seeds)} seeds")
        for count in {self.num_classes} if self.num_classes else {len(order) for order in self.class_orders}:
            if count % self.num_steps or count // self.num_steps < 2:
                raise ValueError(f"{count} classes cannot be split into {self.num_steps} steps of two or more classes")
        return self


Attack = Literal[
    "threshold", "logistic_regression", "multi_layer_perceptron", "random_forest", "k_nearest_neighbours", "lira"
]
ALL_ATTACKS: tuple[Attack, ...] = (
    "threshold",
    "logistic_regression",
    "multi_layer_perceptron",
    "random_forest",
    "k_nearest_neighbours",
    "lira",
)


class Membership(Lone):
    """Membership inference: telling from a network which images it was made from."""

    type: Literal["membership"]
    """Train networks on images distilled from the members, and on the members themselves, and attack both."""

    chunk_size: Count
    """Members: so many training images. The test images are the non-members."""

    chunk_indices: Annotated[tuple[Index, ...], Field(strict=False, min_length=1), Distinct] = (0,)
    """Which pieces of the shuffled training images are members, each in an experiment of its own."""

    train_steps: Annotated[tuple[Steps, ...], Field(strict=False, min_length=1), Distinct] = (
        *(100, 250, 500, 1000),
        *(2000, 4000, 8000, 16_000),
    )
    """Training lengths of the attacked networks, each with a schedule of its own; a warm-up that is no shorter becomes
    the first fifth."""

    attacks: Annotated[tuple[Attack, ...], Field(strict=False, min_length=1), Distinct] = ALL_ATTACKS
    """`threshold` on the loss; four attackers trained on logits, label and loss; and `lira`, which compares with shadow
    networks trained on other images."""

    shadow_models: Annotated[int, Field(ge=2, le=1000)] = 16
    """Shadow networks of `lira` for each training length, each trained on `chunk_size` training images that are no
    members."""

    @model_validator(mode="after")
    def lengths_replace_steps(self) -> "Membership":
        """Reject steps that the list of lengths replaces."""
        for name in ("steps", "predictors"):
            if name in self.model_fields_set:
                raise ValueError(f"{name} is not read by type = 'membership'; train_steps lists the training lengths")
        return self


class FairScores(OfOneNetwork):
    """Say what of an accuracy is due to the images, and not to soft labels, augmentation or tuning (DD-Ranking)."""

    type: Literal["fair_scores"]
    """Hard-label recovery, improvement over random images, label-robust and augmentation-robust score."""

    full_epochs: Epochs = 50
    """Passes over all real images of the networks that the recovery is held against."""

    improvement_weight: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Weight of the improvement over random images in the label-robust score; the rest is that of the recovery."""

    augmented_weight: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Weight of the improvement with augmentation in the augmentation-robust score; the rest is that without."""

    @model_validator(mode="after")
    def there_must_be_an_augmentation(self) -> "FairScores":
        """Reject a recipe without augmentation: the score compares training with and without it."""
        if self.augmentation == ():
            raise ValueError("augmentation = [] leaves nothing for the augmentation-robust score to compare")
        return self

    @model_validator(mode="after")
    def networks_must_predict(self) -> "FairScores":
        """Reject a recipe without the accuracies that are compared: of all real images there are those of networks."""
        if "network" not in self.predictors:
            raise ValueError(f'predictors = {list(self.predictors)} needs "network" too: networks are compared')
        return self


Application = Annotated[Evaluate | CrossArchitecture | FairScores | Continual | Membership, Field(discriminator="type")]

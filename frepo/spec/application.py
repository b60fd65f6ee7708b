"""The tables `[[application]]`: the uses of the distilled data."""

from typing import Annotated, Any, ClassVar, Literal, Self, cast

from pydantic import Field, model_validator

from frepo.spec.architecture import Architecture, Normalization
from frepo.spec.dataset import Class
from frepo.spec.recipe import Recipe
from frepo.spec.recipes import RecipeName, with_recipe
from frepo.spec.table import Count, Distinct, Epochs, Few, Index, Seed, Steps

Baseline = Literal[
    "random",
    "herding",
    "k_center",
    "k_means",
    "herding_pixels",
    "k_center_pixels",
    "k_means_pixels",
    "full",
]
"""Real images that learned ones are compared with. The literature chooses by features of a trained network; on whitened
pixels herding falls below random images."""


class Named(Recipe):
    """A recipe that may start from one of the literature."""

    added = (*Recipe.added, "recipe")

    recipe: RecipeName | None = None
    """Start from a recipe of the literature: it sets the fields that are left out, for example `dsa` the augmentation,
    optimiser and length of Zhao and Bilen (2021). `frepo recipes` lists them, with their networks."""

    replaced: ClassVar[tuple[str, ...]] = ()
    """Fields of a recipe that the application has others for."""

    @model_validator(mode="before")
    @classmethod
    def _start_from_the_recipe(cls, table: Any) -> Any:
        if not isinstance(table, dict):
            return table
        return with_recipe(cast("dict[str, Any]", table), set(cls.model_fields) - set(cls.replaced))


class Compared(Named):
    """A recipe that is also applied to other sources of data."""

    baselines: Annotated[tuple[Baseline, ...], Field(strict=False), Distinct] = ()
    """Real images evaluated the same way: equally many, drawn at `random` or chosen by `herding`, `k_center` or
    `k_means` on the features of a network trained on all real images, or (`herding_pixels`, ...) on pixels; `full`: all
    real images."""

    full_epochs: Epochs = 50
    """Passes over all real images by the networks of the baseline `full`, in place of `steps`."""

    feature_epochs: Epochs = 10
    """Passes over all real images by the network whose features serve `herding`, `k_center` and `k_means`."""


class OfOneNetwork(Named):
    """A recipe for networks of the spec's architecture."""

    normalization: Normalization = "identity"
    """Normalisation of the evaluated networks, in place of the one in `[architecture]`."""


class Evaluate(Compared, OfOneNetwork):
    """Train fresh networks on the distilled data and test them on the whole test set."""

    type: Literal["evaluate"]
    """Train fresh networks of the spec's architecture and report their test accuracy."""


class CrossArchitecture(Compared):
    """Evaluate on architectures other than the one that the images were learned with."""

    type: Literal["cross_architecture"]
    """Train fresh networks of several architectures and report their test accuracy side by side."""

    architectures: Annotated[tuple[Architecture, ...], Field(strict=False, min_length=1), Distinct]
    """Tables like `[architecture]`, such as `{ type = "vgg11", width = 128 }`."""

    normalizations: Annotated[tuple[Normalization, ...], Field(strict=False), Distinct] = ()
    """Normalisations with which each architecture is evaluated. Left out: its own `normalization` only."""

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


class Lone(OfOneNetwork):
    """A recipe of an application without a choice among learning rates."""

    @model_validator(mode="after")
    def there_is_no_choice(self) -> Self:
        """Reject candidates if nothing would choose among them."""
        if self.learning_rates:
            raise ValueError("learning_rates is not read by this application: set learning_rate")
        return self


class Continual(Lone):
    """Class-incremental learning: the classes arrive in tasks, and only distilled images of each are remembered."""

    type: Literal["continual"]
    """Distil each task by itself; after each, train networks on all memories so far and test on all classes seen."""

    num_steps: Annotated[Few, Field(ge=2)]
    """Number of tasks into which the classes are split, equally many classes each."""

    num_classes: Annotated[Count, Field(ge=2)] | None = None
    """Number of classes of the data set, whose order is drawn from each seed. Left out: `class_orders` lists the
    orders."""

    seeds: Annotated[tuple[Seed, ...], Field(strict=False, min_length=1), Distinct] = (0,)
    """Seeds of all randomness; each gives one sequence of tasks."""

    class_orders: Annotated[tuple[Order, ...], Field(strict=False)] = ()
    """The order of the classes for each seed, in place of a drawn order."""

    baselines: Annotated[tuple[Baseline, ...], Field(strict=False), Distinct] = ()
    """Other memories: equally many real images, drawn or chosen from the classes of each task as `evaluate` has them;
    `full`: all real images seen."""

    full_epochs: Epochs = 50
    """Passes over all real images by the networks of the baseline `full`, in place of `steps`."""

    feature_epochs: Epochs = 10
    """Passes over all real images of a task by the network whose features serve `herding`, `k_center` and `k_means`."""

    @model_validator(mode="after")
    def classes_must_be_known(self) -> "Continual":
        """Reject orders that are missing, differ in number from the seeds, or do not split evenly."""
        if (self.num_classes is None) == (not self.class_orders):
            raise ValueError("set either num_classes (orders are drawn) or class_orders (one for each seed)")
        if self.class_orders and len(self.class_orders) != len(self.seeds):
            raise ValueError(f"class_orders has {len(self.class_orders)} orders for {len(self.seeds)} seeds")
        for count in {self.num_classes} if self.num_classes else {len(order) for order in self.class_orders}:
            if count % self.num_steps or count // self.num_steps < 2:
                raise ValueError(f"{count} classes cannot be split into {self.num_steps} tasks of two or more classes")
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
    """Membership inference: detecting from a network the images that it was made from."""

    type: Literal["membership"]
    """Train networks on images distilled from the members, and on the members themselves, and attack both."""

    replaced = ("steps", "epochs", "predictors")

    chunk_size: Count
    """Number of members, a chunk of the training images. The test images are the non-members."""

    chunk_indices: Annotated[tuple[Index, ...], Field(strict=False, min_length=1), Distinct] = (0,)
    """Chunks of the shuffled training images whose images are members, each in a separate experiment."""

    train_steps: Annotated[tuple[Steps, ...], Field(strict=False, min_length=1), Distinct] = (
        *(100, 250, 500, 1000),
        *(2000, 4000, 8000, 16_000),
    )
    """Training lengths of the attacked networks, each with its own schedule; a warm-up that is not shorter than the
    training is cut to its first fifth."""

    attacks: Annotated[tuple[Attack, ...], Field(strict=False, min_length=1), Distinct] = ALL_ATTACKS
    """`threshold` on the loss; four attackers trained on logits, label and loss; and `lira`, which compares with shadow
    networks trained on other images."""

    shadow_models: Annotated[int, Field(ge=2, le=1000)] = 16
    """Shadow networks of `lira` for each training length, each trained on `chunk_size` training images that are not
    members."""

    @model_validator(mode="after")
    def lengths_replace_steps(self) -> "Membership":
        """Reject steps, which the list of lengths replaces."""
        for name in self.replaced:
            if name in self.model_fields_set:
                raise ValueError(f"{name} is not read by type = 'membership'; train_steps lists the training lengths")
        return self


class FairScores(OfOneNetwork):
    """Measure the part of an accuracy due to the images, not to soft labels, augmentation or tuning (DD-Ranking)."""

    type: Literal["fair_scores"]
    """Hard-label recovery, improvement over random images, label-robust and augmentation-robust score."""

    full_epochs: Epochs = 50
    """Passes over all real images by the networks that are the reference of the recovery."""

    improvement_weight: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Weight of the improvement over random images in the label-robust score; the rest is the weight of the
    recovery."""

    augmented_weight: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Weight of the improvement with augmentation in the augmentation-robust score; the rest is the weight without."""

    @model_validator(mode="after")
    def there_must_be_an_augmentation(self) -> "FairScores":
        """Reject a recipe without augmentation: the score compares training with and without it."""
        if self.augmentation == ():
            raise ValueError("augmentation = [] leaves nothing for the augmentation-robust score to compare")
        return self

    @model_validator(mode="after")
    def networks_must_predict(self) -> "FairScores":
        """Reject a recipe without accuracies of networks: all real images have no other to compare with."""
        if "network" not in self.predictors:
            raise ValueError(f'predictors = {list(self.predictors)} needs "network" too: networks are compared')
        return self


Application = Annotated[Evaluate | CrossArchitecture | FairScores | Continual | Membership, Field(discriminator="type")]

"""The table `[distill]`: the method of making the images."""

from typing import Annotated, Literal, get_args

from pydantic import Field, model_validator

from frepo.spec.learned import Dm, Frepo, RatBptt, Rcig
from frepo.spec.method import Method
from frepo.spec.table import Count, Epochs, Fraction, Table


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

    on: Literal["features", "pixels"] = "features"
    """Choose by the features of a network trained on all real images, as the literature does, or by preprocessed
    pixels, on which herding falls below random images."""

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


Made = Frepo | Rcig | RatBptt | Dm | RandomSelection | Coreset | Imported
"""The methods."""

Distill = Annotated[Made | Full, Field(discriminator="method")]


def method_tables() -> dict[str, type[Method]]:
    """Return the table of each method, by the values of `method`."""
    return {name: table for table in get_args(Made) for name in get_args(table.model_fields["method"].annotation)}

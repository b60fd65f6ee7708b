"""The table `[distill]`: how the images are made."""

from typing import Annotated, Literal

from pydantic import Field

from frepo.spec.table import Count, Fraction, LearningRate, Table


class Frepo(Table):
    """Neural feature regression with pooling (Zhou, Nezhadarya and Ba, NeurIPS 2022)."""

    method: Literal["frepo"]
    """Learn images and labels by kernel ridge regression on the features of a pool of networks."""

    ipc: Count
    """Images per class."""

    steps: Count = 500_000
    """Updates of the distilled data."""

    batch_size: Count = 1024
    """Real images in one target batch."""

    learn_labels: bool = True
    """Learn the labels too, with the label-margin term in the loss; otherwise they stay as they start."""

    flip: bool = False
    """Regress on the distilled images and their mirror images (not for digits)."""

    optimizer: Literal["lamb", "adam"] = "lamb"
    """Optimiser of the distilled data."""

    learning_rate: LearningRate = 3e-4
    """Its learning rate at the start; a cosine takes it to a tenth at the last step."""

    validation_fraction: Fraction | None = None
    """Hold out this share of each class's training images; the result is, of twenty states along the way, the one from
    which they are predicted best. Left out: the result is the last state."""

    reg: Annotated[float, Field(gt=0)] = 1e-6
    """Ridge as a share of the mean diagonal: reg * tr(K_SS) / n is added to the diagonal of the support's kernel."""


class RandomSelection(Table):
    """Real images drawn at random, the same number from each class."""

    method: Literal["random"]
    """Draw real images instead of learning them."""

    ipc: Count
    """Images per class."""


Distill = Annotated[Frepo | RandomSelection, Field(discriminator="method")]

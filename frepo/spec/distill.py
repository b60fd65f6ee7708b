"""The table `[distill]`: how the images are made."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from frepo.spec.table import Count, Epochs, Fraction, LearningRate, Positive, Steps, Table


class Frepo(Table):
    """Neural feature regression with pooling (Zhou, Nezhadarya and Ba, NeurIPS 2022)."""

    method: Literal["frepo"]
    """Learn images and labels by kernel ridge regression on the features of a pool of networks."""

    ipc: Count
    """Images per class."""

    steps: Steps = 500_000
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

    reg: Positive = 1e-6
    """Ridge as a share of the mean diagonal: reg * tr(K_SS) / n is added to the diagonal of the support's kernel."""


class RandomSelection(Table):
    """Real images drawn at random, the same number from each class."""

    method: Literal["random"]
    """Draw real images instead of learning them."""

    ipc: Count
    """Images per class."""

    validation_fraction: Fraction | None = None
    """Hold out this share of each class's training images for choices."""


class Coreset(Table):
    """Real images chosen class by class: those that stand for their class."""

    method: Literal["herding", "k_center", "k_means"]
    """`herding`: their mean follows that of the class; `k_center`: each is far from the others; `k_means`: those
    nearest to the centres of clusters."""

    ipc: Count
    """Images per class."""

    on: Literal["pixels", "features"] = "pixels"
    """Choose by preprocessed pixels, or by the features of a network trained on all real images."""

    epochs: Epochs = 10
    """Passes over all real images of that network."""

    validation_fraction: Fraction | None = None
    """Hold out this share of each class's training images for choices."""

    @model_validator(mode="after")
    def epochs_must_be_read(self) -> "Coreset":
        """Reject epochs where no network is trained."""
        if self.on == "pixels" and "epochs" in self.model_fields_set:
            raise ValueError("epochs is read with on = 'features' only")
        return self


class Full(Table):
    """All real images: what is lost by distilling."""

    method: Literal["full"]
    """Use all real images instead of learning a few."""

    epochs: Epochs = 50
    """Passes over them of each evaluated network, in place of `steps`."""

    validation_fraction: Fraction | None = None
    """Hold out this share of each class's training images for choices."""


class Imported(Table):
    """Images that somebody else made; `frepo import` writes this table."""

    method: Literal["imported"]
    """Use images and labels that were imported."""

    ipc: Count
    """Images per class."""

    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    """Digest of the imported images and labels."""

    validation_fraction: Fraction | None = None
    """Hold out this share of each class's training images for choices; whoever made the images may have used them."""


Distill = Annotated[Frepo | RandomSelection | Coreset | Full | Imported, Field(discriminator="method")]

"""The table `[architecture]`."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from frepo.spec.table import Count, Table

Normalization = Literal["batch", "identity", "layer", "instance", "group"]

Precision = Literal["float32", "tf32", "bfloat16"]

GROUPS = 4


class Conv(Table):
    """Convolution, ReLU and 2x2 average pooling, repeated; each block twice as wide as the one before."""

    type: Literal["conv"] = "conv"
    """The convolutional network of the paper."""

    width: Count = 128
    """Channels of the first block; every further block has twice as many."""

    depth: Annotated[int, Field(ge=1, le=8)] = 3
    """Number of blocks (the paper: 3 up to 32 pixels, 4 at 64, 5 at 128)."""

    normalization: Normalization = "batch"
    """Normalisation before every convolution but the first, of the networks in the pool; `group` has 4 groups."""

    precision: Precision = "float32"
    """What the networks compute in; `tf32` and `bfloat16` are faster on GPUs that have them. Parameters stay float32,
    and so does the regression on the features."""

    @model_validator(mode="after")
    def groups_must_divide_width(self) -> "Conv":
        """Reject a width that group normalisation cannot split."""
        require_groups_to_divide(self.width, self.normalization)
        return self


def require_groups_to_divide(width: int, normalization: Normalization) -> None:
    """Hold a network's width against its normalisation.

    Raises:
        ValueError: group normalisation cannot split this width.
    """
    if normalization == "group" and width % GROUPS:
        raise ValueError(f"normalization = 'group' needs a width that is a multiple of {GROUPS}, not {width}")

"""The table `[architecture]`: a network, chosen by `type`."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self, cast

from pydantic import Discriminator, Field, Tag, model_validator

from frepo.spec.table import Table, Width

Normalization = Literal["batch", "identity", "layer", "instance", "group", "one_group"]

Precision = Literal["float32", "tf32", "bfloat16"]

BlockPooling = Literal["average", "max", "none"]

StagePooling = Literal["max", "average"]

Depth = Annotated[int, Field(ge=1, le=8)]

GROUPS = 4


class BaseArchitecture(Table):
    """Fields of the tables of all networks."""

    normalization: Normalization = "batch"
    """Normalisation of the pool networks: before every convolution but the first in `conv` and `kipconv`, after every
    convolution in the others. `group` has 4 groups, `one_group` one group; `identity` is no normalisation."""

    precision: Precision = "float32"
    """Precision of the networks; `tf32` and `bfloat16` are faster on GPUs that support them. Parameters stay float32,
    and so does the regression on the features."""

    @property
    @abstractmethod
    def widths(self) -> tuple[int, ...]:
        """Channels after each block, stage or convolution, from the first to the last."""

    @model_validator(mode="after")
    def groups_must_divide_width(self) -> Self:
        """Reject a width that group normalisation cannot split."""
        require_groups_to_divide(self, self.normalization)
        return self


class Conv(BaseArchitecture):
    """Convolution, ReLU and 2x2 pooling, repeated; each block is twice as wide as the one before."""

    type: Literal["conv"] = "conv"
    """The convolutional network of the paper; the default if `type` is left out."""

    width: Width = 128
    """Channels of the first block; every further block has twice as many."""

    depth: Depth = 3
    """Number of blocks (the paper: 3 up to 32 pixels, 4 at 64, 5 at 128)."""

    pooling: BlockPooling = "average"
    """Pooling at the end of a block: the average or the maximum of 2x2 pixels, or no pooling."""

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels after each block."""
        return tuple(self.width * 2**block for block in range(self.depth))


class UniformBlocks(BaseArchitecture):
    """Fields of networks of equally wide blocks."""

    width: Width = 128
    """Channels of every block."""

    depth: Depth = 3
    """Number of blocks."""

    pooling: BlockPooling = "average"
    """Pooling at the end of a block: the average or the maximum of 2x2 pixels, or no pooling."""

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels after each block."""
        return (self.width,) * self.depth


class DcConv(UniformBlocks):
    """Convolution without bias, normalisation, ReLU and 2x2 pooling, repeated; all blocks equally wide."""

    type: Literal["dcconv"] = "dcconv"
    """The convolutional network of dataset condensation (Zhao et al. 2021)."""


class KipConv(UniformBlocks):
    """A convolution and ReLU, then blocks of normalisation, convolution, ReLU and 2x2 pooling, equally wide."""

    type: Literal["kipconv"] = "kipconv"
    """The convolutional network of kernel inducing points (Nguyen et al. 2021)."""


class AlexNet(BaseArchitecture):
    """Five convolutions and three poolings; the AlexNet for 32 pixels of the dataset-condensation literature."""

    type: Literal["alexnet"] = "alexnet"
    """AlexNet for small images: one dense layer follows the convolutions."""

    width: Width | None = None
    """Channels of all convolutions. Left out: the published 128, 192, 256, 192 and 192."""

    pooling: StagePooling = "max"
    """Pooling by the maximum or the average of 2x2 pixels."""

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels after each convolution."""
        return (128, 192, 256, 192, 192) if self.width is None else (self.width,) * 5


class Vgg11(BaseArchitecture):
    """Eight 3x3 convolutions and five poolings: configuration A of Simonyan and Zisserman (2015)."""

    type: Literal["vgg11"] = "vgg11"
    """VGG-11 for small images: one dense layer follows the convolutions."""

    width: Width | None = None
    """Channels of all convolutions (the paper's code: 128). Left out: the published 64, 128, 256, 256 and four times
    512."""

    pooling: StagePooling = "max"
    """Pooling by the maximum or the average of 2x2 pixels."""

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels after each convolution."""
        return (64, 128, 256, 256, 512, 512, 512, 512) if self.width is None else (self.width,) * 8


class Residual(BaseArchitecture):
    """Fields of the residual networks."""

    width: Width = 64
    """Channels of the first of four stages; every further stage has twice as many."""

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels after each stage."""
        return tuple(self.width * 2**stage for stage in range(4))


class ResNet18(Residual):
    """Four stages of two residual blocks each (He et al. 2016), the first convolution 3x3, for small images."""

    type: Literal["resnet18"] = "resnet18"
    """ResNet-18 for small images; its features are the means over the last stage's pixels."""


class ResNet18Ap(Residual):
    """ResNet-18 with 2x2 average pooling in place of strides of 2."""

    type: Literal["resnet18_ap"] = "resnet18_ap"
    """ResNet-18 with average pooling in place of strides; its features are all pixels of the last stage."""


def _type_or_conv(table: Any) -> Any:
    """Return the key that chooses the kind of `table`; a value that is not a table is left for `conv` to refuse."""
    if isinstance(table, Mapping):
        return cast("Mapping[str, Any]", table).get("type", "conv")
    return getattr(table, "type", "conv")


Architecture = Annotated[
    Annotated[Conv, Tag("conv")]
    | Annotated[DcConv, Tag("dcconv")]
    | Annotated[KipConv, Tag("kipconv")]
    | Annotated[AlexNet, Tag("alexnet")]
    | Annotated[Vgg11, Tag("vgg11")]
    | Annotated[ResNet18, Tag("resnet18")]
    | Annotated[ResNet18Ap, Tag("resnet18_ap")],
    Discriminator(_type_or_conv),
]


def require_groups_to_divide(architecture: BaseArchitecture, normalization: Normalization) -> None:
    """Check a network's widths against a normalisation.

    Raises:
        ValueError: group normalisation cannot split a width.
    """
    if normalization != "group":
        return
    for width in architecture.widths:
        if width % GROUPS:
            raise ValueError(f"normalization = 'group' needs a width that is a multiple of {GROUPS}, not {width}")

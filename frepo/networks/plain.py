"""AlexNet and VGG-11 for small images: a chain of convolutions, each with its own width."""

from typing import ClassVar

import flax.linen as nn
from jaxtyping import Array, Float

from frepo.networks.base import ImageNetwork
from frepo.networks.layers import numerics, pad_one_channel, relu_pool
from frepo.spec.architecture import StagePooling


class PlainNetwork(ImageNetwork):
    """Convolutions, each followed by normalisation and ReLU, some also by 2x2 pooling, then a dense head.

    One-channel images get two more pixels of padding, from 28 pixels to 32.
    """

    large: ClassVar[tuple[int, ...]] = ()
    """Indices of the 5x5 convolutions; the others are 3x3."""
    pooled: ClassVar[tuple[int, ...]]
    """Indices of the convolutions followed by pooling."""

    widths: tuple[int, ...]
    pooling: StagePooling = "max"

    def body(self, x: Float[Array, "n h w c"], *, train: bool) -> Float[Array, "n ..."]:
        """Return the last convolution's output."""
        dtype, products = numerics(self.precision)
        x = pad_one_channel(x)
        for position, width in enumerate(self.widths):
            if position in self.large:
                x = nn.Conv(width, (5, 5), padding=2, dtype=dtype, precision=products)(x)
            else:
                x = self.conv(width)(x)
            x = relu_pool(self.pooling if position in self.pooled else "none", self.norm(x, train=train))
        return x


class AlexNet(PlainNetwork):
    """Five convolutions, three of them pooled.

    As in github.com/VICO-UoE/DatasetCondensation, which has no normalisation in this network.
    """

    large = (0, 1)
    pooled = (0, 1, 4)


class Vgg11(PlainNetwork):
    """Eight convolutions, five of them pooled.

    Configuration A of Simonyan and Zisserman (2015) with a single dense layer, as is usual for small images and in
    github.com/VICO-UoE/DatasetCondensation.
    """

    pooled = (0, 1, 3, 5, 7)

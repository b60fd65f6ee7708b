"""AlexNet and VGG-11 for small images: convolutions one after the other, each of a width of its own."""

from typing import ClassVar

import flax.linen as nn
from jaxtyping import Array, Float

from frepo.networks.base import ImageNetwork
from frepo.networks.layers import numerics, pad_one_channel, relu_pool
from frepo.spec.architecture import StagePooling


class PlainNetwork(ImageNetwork):
    """Convolutions, each followed by normalisation and ReLU, some of them by 2x2 pooling, then a dense head.

    One-channel images have two more pixels of padding, which takes 28 pixels to 32.
    """

    large: ClassVar[tuple[int, ...]] = ()
    """The convolutions over 5x5 pixels; the others have 3x3."""
    pooled: ClassVar[tuple[int, ...]]
    """The convolutions that pooling follows."""

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

    As in github.com/VICO-UoE/DatasetCondensation, which has no normalisation here.
    """

    large = (0, 1)
    pooled = (0, 1, 4)


class Vgg11(PlainNetwork):
    """Eight convolutions, five of them pooled.

    Configuration A of Simonyan and Zisserman (2015) with the one dense layer that is usual for small images, as in
    github.com/VICO-UoE/DatasetCondensation.
    """

    pooled = (0, 1, 3, 5, 7)

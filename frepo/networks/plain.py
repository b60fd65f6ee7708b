"""AlexNet and VGG-11 for small images: convolutions one after the other, each of a width of its own."""

import flax.linen as nn
from jaxtyping import Array, Float, Float32

from frepo.networks.convolution import convolution
from frepo.networks.layers import dense_head, normalize, numerics, pad_one_channel, relu_pool
from frepo.spec.architecture import Normalization, Precision, StagePooling

ALEXNET_LARGE_KERNELS = (0, 1)
"""The convolutions of AlexNet over 5x5 pixels; the others have 3x3."""
ALEXNET_POOLED = (0, 1, 4)
VGG11_POOLED = (0, 1, 3, 5, 7)
"""The convolutions that pooling follows."""


class AlexNet(nn.Module):
    """Five convolutions, each followed by normalisation and ReLU, three of them by 2x2 pooling, then a dense head.

    As in github.com/VICO-UoE/DatasetCondensation, which has no normalisation here; one-channel images have two more
    pixels of padding, which takes 28 pixels to 32.
    """

    num_classes: int
    widths: tuple[int, ...]
    normalization: Normalization
    precision: Precision
    batch_momentum: float
    pooling: StagePooling = "max"

    @nn.compact
    def __call__(
        self, x: Float[Array, "n h w c"], *, train: bool
    ) -> tuple[Float32[Array, "n d"], Float32[Array, "n {self.num_classes}"]]:
        """Map images [n, h, w, c] to (features [n, d], logits [n, num_classes]), both float32."""
        dtype, products = numerics(self.precision)
        x = pad_one_channel(x)
        for position, width in enumerate(self.widths):
            if position in ALEXNET_LARGE_KERNELS:
                x = nn.Conv(width, (5, 5), padding=2, dtype=dtype, precision=products)(x)
            else:
                x = convolution(width, dtype, products)(x)
            x = normalize(self.normalization, x, train=train, batch_momentum=self.batch_momentum, dtype=dtype)
            x = relu_pool(self.pooling if position in ALEXNET_POOLED else "none", x)
        return dense_head(x, self.num_classes, self.precision)


class Vgg11(nn.Module):
    """Eight 3x3 convolutions, each followed by normalisation and ReLU, five of them by 2x2 pooling, then a dense head.

    Configuration A of Simonyan and Zisserman (2015) with the one dense layer that is usual for small images, as in
    github.com/VICO-UoE/DatasetCondensation; one-channel images have two more pixels of padding, which takes 28 pixels
    to 32.
    """

    num_classes: int
    widths: tuple[int, ...]
    normalization: Normalization
    precision: Precision
    batch_momentum: float
    pooling: StagePooling = "max"

    @nn.compact
    def __call__(
        self, x: Float[Array, "n h w c"], *, train: bool
    ) -> tuple[Float32[Array, "n d"], Float32[Array, "n {self.num_classes}"]]:
        """Map images [n, h, w, c] to (features [n, d], logits [n, num_classes]), both float32."""
        dtype, products = numerics(self.precision)
        x = pad_one_channel(x)
        for position, width in enumerate(self.widths):
            x = convolution(width, dtype, products)(x)
            x = normalize(self.normalization, x, train=train, batch_momentum=self.batch_momentum, dtype=dtype)
            x = relu_pool(self.pooling if position in VGG11_POOLED else "none", x)
        return dense_head(x, self.num_classes, self.precision)

"""ResNet-18 for small images, halving by strides or by average pooling."""

from functools import partial
from typing import Literal

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from frepo.networks.base import Block, ImageNetwork
from frepo.networks.layers import numerics, relu_average_pool

BLOCKS_PER_STAGE = 2

Halving = Literal["stride", "average"]


class ResidualBlock(Block):
    """Two 3x3 convolutions, each followed by normalisation, beside a shortcut; ReLU after the first and the sum.

    Where the block halves height and width or changes the channels, the shortcut is a 1x1 convolution and
    normalisation. No convolution has a bias.
    """

    features: int
    halving: Halving | None

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"], *, train: bool) -> Float[Array, "n h_out w_out {self.features}"]:
        """Map x [n, h, w, c] to [n, h, w, features] or, halved, [n, h/2, w/2, features].

        With odd sides, a stride rounds half the side up, average pooling down.
        """
        dtype, products = numerics(self.precision)
        norm = partial(self.norm, train=train)
        conv = partial(nn.Conv, self.features, use_bias=False, dtype=dtype, precision=products)
        keep_size = partial(self.conv, self.features, use_bias=False)
        shortcut = x
        match self.halving:
            case "stride":
                x = nn.relu(norm(conv((3, 3), strides=2, padding=1)(x)))
                shortcut = norm(conv((1, 1), strides=2)(shortcut))
            case "average":
                x = relu_average_pool(norm(keep_size()(x)))
                # The published order, convolution before pooling, gives the same numbers at four times the cost.
                shortcut = norm(conv((1, 1))(nn.avg_pool(shortcut, (2, 2), strides=(2, 2))))
            case None:
                x = nn.relu(norm(keep_size()(x)))
                if shortcut.shape[-1] != self.features:
                    shortcut = norm(conv((1, 1))(shortcut))
        return nn.relu(norm(keep_size()(x)) + shortcut)


class ResidualStages(Block):
    """A 3x3 convolution without bias, normalisation and ReLU, then stages of two blocks; all but the first halve."""

    widths: tuple[int, ...]
    halving: Halving

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"], *, train: bool) -> Float[Array, "n h_out w_out {self.widths[-1]}"]:
        """Map images [n, h, w, c] to the last stage's output [n, h/8, w/8, widths[-1]]."""
        x = nn.relu(self.norm(self.conv(self.widths[0], use_bias=False)(x), train=train))
        block = partial(ResidualBlock, self.normalization, self.precision, self.batch_momentum)
        for stage, width in enumerate(self.widths):
            for number in range(BLOCKS_PER_STAGE):
                x = block(width, self.halving if stage > 0 and number == 0 else None)(x, train=train)
        return x


class ResidualNetwork(ImageNetwork):
    """Residual stages before the head."""

    widths: tuple[int, ...]

    def stages(self, halving: Halving) -> ResidualStages:
        """Return the stages."""
        return ResidualStages(self.normalization, self.precision, self.batch_momentum, self.widths, halving)


class ResNet18(ResidualNetwork):
    """Residual stages that halve by strides of 2, the mean over all pixels, then a dense head.

    He, Zhang, Ren and Sun (2016), with a 3x3 first convolution and no pooling after it, as is usual for small images
    and in github.com/VICO-UoE/DatasetCondensation.
    """

    def body(self, x: Float[Array, "n h w c"], *, train: bool) -> Float[Array, "n ..."]:
        """Return means [n, widths[-1]], float32."""
        return jnp.mean(self.stages("stride")(x, train=train).astype(jnp.float32), axis=(1, 2))


class ResNet18Ap(ResidualNetwork):
    """Residual stages that halve by 2x2 average pooling, then a dense head on all pixels of the last stage.

    The ResNet18_AP of github.com/VICO-UoE/DatasetCondensation.
    """

    def body(self, x: Float[Array, "n h w c"], *, train: bool) -> Float[Array, "n ..."]:
        """Return the last stage's output [n, h/8, w/8, widths[-1]]."""
        return self.stages("average")(x, train=train)

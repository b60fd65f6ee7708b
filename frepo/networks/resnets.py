"""ResNet-18 for small images, halving by strides or by average pooling."""

from functools import partial
from typing import Literal

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Float32

from frepo.networks.convolution import convolution
from frepo.networks.layers import dense_head, normalize, numerics, relu_average_pool
from frepo.spec.architecture import Normalization, Precision

BLOCKS_PER_STAGE = 2

Halving = Literal["stride", "average"]


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions, each followed by normalisation, beside a shortcut; ReLU after the first and the sum.

    Where the block halves height and width or changes the channels, the shortcut is a 1x1 convolution and
    normalisation. No convolution has a bias.
    """

    features: int
    halving: Halving | None
    normalization: Normalization
    precision: Precision
    batch_momentum: float

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"], *, train: bool) -> Float[Array, "n h_out w_out {self.features}"]:
        """Map x [n, h, w, c] to [n, h, w, features] or, halved, [n, h/2, w/2, features].

        Of odd sides a stride rounds the half up, average pooling down.
        """
        dtype, products = numerics(self.precision)
        norm = partial(normalize, self.normalization, train=train, batch_momentum=self.batch_momentum, dtype=dtype)
        conv = partial(nn.Conv, self.features, use_bias=False, dtype=dtype, precision=products)
        keep_size = partial(convolution, self.features, dtype, products, use_bias=False)
        shortcut = x
        match self.halving:
            case "stride":
                x = nn.relu(norm(conv((3, 3), strides=2, padding=1)(x)))
                shortcut = norm(conv((1, 1), strides=2)(shortcut))
            case "average":
                x = relu_average_pool(norm(keep_size()(x)))
                # The published order, convolution before pooling, gives the same numbers for four times the work.
                shortcut = norm(conv((1, 1))(nn.avg_pool(shortcut, (2, 2), strides=(2, 2))))
            case None:
                x = nn.relu(norm(keep_size()(x)))
                if shortcut.shape[-1] != self.features:
                    shortcut = norm(conv((1, 1))(shortcut))
        return nn.relu(norm(keep_size()(x)) + shortcut)


class ResidualStages(nn.Module):
    """A 3x3 convolution without bias, normalisation and ReLU, then stages of two blocks; all but the first halve."""

    widths: tuple[int, ...]
    halving: Halving
    normalization: Normalization
    precision: Precision
    batch_momentum: float

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"], *, train: bool) -> Float[Array, "n h_out w_out {self.widths[-1]}"]:
        """Map images [n, h, w, c] to the last stage's output [n, h/8, w/8, widths[-1]]."""
        dtype, products = numerics(self.precision)
        x = convolution(self.widths[0], dtype, products, use_bias=False)(x)
        x = nn.relu(normalize(self.normalization, x, train=train, batch_momentum=self.batch_momentum, dtype=dtype))
        for stage, width in enumerate(self.widths):
            for block in range(BLOCKS_PER_STAGE):
                halving = self.halving if stage > 0 and block == 0 else None
                x = ResidualBlock(width, halving, self.normalization, self.precision, self.batch_momentum)(
                    x, train=train
                )
        return x


class ResNet18(nn.Module):
    """Residual stages that halve by strides of 2, means over all pixels, then a dense head.

    He, Zhang, Ren and Sun (2016), with the first convolution 3x3 and no pooling after it, as is usual for small images
    and in github.com/VICO-UoE/DatasetCondensation.
    """

    num_classes: int
    widths: tuple[int, ...]
    normalization: Normalization
    precision: Precision
    batch_momentum: float

    @nn.compact
    def __call__(
        self, x: Float[Array, "n h w c"], *, train: bool
    ) -> tuple[Float32[Array, "n d"], Float32[Array, "n {self.num_classes}"]]:
        """Map images [n, h, w, c] to (features [n, widths[-1]], logits [n, num_classes]), both float32."""
        stages = ResidualStages(self.widths, "stride", self.normalization, self.precision, self.batch_momentum)
        x = jnp.mean(stages(x, train=train).astype(jnp.float32), axis=(1, 2))
        return dense_head(x, self.num_classes, self.precision)


class ResNet18Ap(nn.Module):
    """Residual stages that halve by 2x2 average pooling, then a dense head on all pixels of the last one.

    The ResNet18_AP of github.com/VICO-UoE/DatasetCondensation.
    """

    num_classes: int
    widths: tuple[int, ...]
    normalization: Normalization
    precision: Precision
    batch_momentum: float

    @nn.compact
    def __call__(
        self, x: Float[Array, "n h w c"], *, train: bool
    ) -> tuple[Float32[Array, "n d"], Float32[Array, "n {self.num_classes}"]]:
        """Map images [n, h, w, c] to (features [n, h/8 * w/8 * widths[-1]], logits [n, num_classes]), both float32."""
        stages = ResidualStages(self.widths, "average", self.normalization, self.precision, self.batch_momentum)
        return dense_head(stages(x, train=train), self.num_classes, self.precision)

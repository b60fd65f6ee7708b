"""Convolutional networks whose blocks are all alike: that of the paper, of dataset condensation and of KIP."""

import flax.linen as nn
from jax.nn.initializers import he_normal, normal
from jaxtyping import Array, Float, Float32

from frepo.networks.convolution import convolution
from frepo.networks.layers import dense_head, normalize, numerics, pad_one_channel, relu_pool
from frepo.spec.architecture import BlockPooling, Normalization, Precision

KIP_BIAS_DEVIATION = 0.1


class ConvNet(nn.Module):
    """Blocks of 3x3 convolution, ReLU and 2x2 pooling, width doubling, then a dense head.

    Normalisation comes before every convolution but the first. The first convolution of one-channel images has two
    more pixels of padding, which takes 28 pixels to 32.
    """

    num_classes: int
    width: int
    depth: int
    normalization: Normalization
    precision: Precision
    batch_momentum: float
    pooling: BlockPooling = "average"

    @nn.compact
    def __call__(
        self, x: Float[Array, "n h w c"], *, train: bool
    ) -> tuple[Float32[Array, "n d"], Float32[Array, "n {self.num_classes}"]]:
        """Map images [n, h, w, c] to (features [n, d], logits [n, num_classes]), both float32."""
        dtype, products = numerics(self.precision)
        x = pad_one_channel(x)
        for block in range(self.depth):
            if block > 0:
                x = normalize(self.normalization, x, train=train, batch_momentum=self.batch_momentum, dtype=dtype)
            x = convolution(self.width * 2**block, dtype, products)(x)
            x = relu_pool(self.pooling, x)
        return dense_head(x, self.num_classes, self.precision)


class DcConvNet(nn.Module):
    """Blocks of 3x3 convolution without bias, normalisation, ReLU and 2x2 pooling, then a dense head.

    The ConvNet of Zhao, Mopuri and Bilen (2021), github.com/VICO-UoE/DatasetCondensation, whose one-channel images
    have two more pixels of padding, in the form of github.com/yongchaoz/FRePo: no bias and He's initialisation, also
    of the head.
    """

    num_classes: int
    width: int
    depth: int
    normalization: Normalization
    precision: Precision
    batch_momentum: float
    pooling: BlockPooling = "average"

    @nn.compact
    def __call__(
        self, x: Float[Array, "n h w c"], *, train: bool
    ) -> tuple[Float32[Array, "n d"], Float32[Array, "n {self.num_classes}"]]:
        """Map images [n, h, w, c] to (features [n, d], logits [n, num_classes]), both float32."""
        dtype, products = numerics(self.precision)
        x = pad_one_channel(x)
        for _ in range(self.depth):
            x = convolution(self.width, dtype, products, use_bias=False, kernel_init=he_normal())(x)
            x = normalize(self.normalization, x, train=train, batch_momentum=self.batch_momentum, dtype=dtype)
            x = relu_pool(self.pooling, x)
        return dense_head(x, self.num_classes, self.precision, kernel_init=he_normal())


class KipConvNet(nn.Module):
    """A 3x3 convolution and ReLU, blocks of normalisation, 3x3 convolution, ReLU and 2x2 pooling, then a dense head.

    The network of Nguyen, Novak, Xiao and Lee (2021), in the form of github.com/yongchaoz/FRePo: all convolutions have
    the same width, all biases start as normal numbers with deviation 0.1, and one-channel images have no more padding
    than others.
    """

    num_classes: int
    width: int
    depth: int
    normalization: Normalization
    precision: Precision
    batch_momentum: float
    pooling: BlockPooling = "average"

    @nn.compact
    def __call__(
        self, x: Float[Array, "n h w c"], *, train: bool
    ) -> tuple[Float32[Array, "n d"], Float32[Array, "n {self.num_classes}"]]:
        """Map images [n, h, w, c] to (features [n, d], logits [n, num_classes]), both float32."""
        dtype, products = numerics(self.precision)
        bias_init = normal(KIP_BIAS_DEVIATION)
        x = nn.relu(convolution(self.width, dtype, products, bias_init=bias_init)(x))
        for _ in range(self.depth):
            x = normalize(self.normalization, x, train=train, batch_momentum=self.batch_momentum, dtype=dtype)
            x = convolution(self.width, dtype, products, bias_init=bias_init)(x)
            x = relu_pool(self.pooling, x)
        return dense_head(x, self.num_classes, self.precision, bias_init=bias_init)

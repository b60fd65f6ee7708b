"""Convolutional networks of identical blocks: those of the paper, of dataset condensation and of KIP."""

import flax.linen as nn
from jax.nn.initializers import Initializer, he_normal, normal, zeros
from jaxtyping import Array, Float

from frepo.networks.base import ImageNetwork
from frepo.networks.convolution import LECUN_NORMAL
from frepo.networks.layers import pad_one_channel, relu_pool, softplus_pool
from frepo.spec.architecture import BlockPooling

KIP_BIAS_STD = 0.1


class BlockNetwork(ImageNetwork):
    """A network of `depth` blocks."""

    width: int
    depth: int
    pooling: BlockPooling = "average"


class ConvNet(BlockNetwork):
    """Blocks of 3x3 convolution, ReLU and 2x2 pooling, width doubling, then a dense head.

    Normalisation comes before every convolution but the first. The first convolution of one-channel images has two
    more pixels of padding, which takes 28 pixels to 32. With `softplus`, softplus(s x) / s takes the place of ReLU.
    """

    softplus: float | None = None

    def body(self, x: Float[Array, "n h w c"], *, train: bool) -> Float[Array, "n ..."]:
        """Return the last block's output."""
        x = pad_one_channel(x)
        for block in range(self.depth):
            if block > 0:
                x = self.norm(x, train=train)
            x = self.conv(self.width * 2**block)(x)
            x = relu_pool(self.pooling, x) if self.softplus is None else softplus_pool(self.pooling, x, self.softplus)
        return x


class DcConvNet(BlockNetwork):
    """Blocks of 3x3 convolution without bias, normalisation, ReLU and 2x2 pooling, then a dense head.

    The ConvNet of Zhao, Mopuri and Bilen (2021), github.com/VICO-UoE/DatasetCondensation, whose one-channel images
    get two more pixels of padding, in the form of github.com/yongchaoz/FRePo: no bias, and He's initialisation, of
    the head too.
    """

    def body(self, x: Float[Array, "n h w c"], *, train: bool) -> Float[Array, "n ..."]:
        """Return the last block's output."""
        x = pad_one_channel(x)
        for _ in range(self.depth):
            x = self.conv(self.width, use_bias=False, kernel_init=he_normal())(x)
            x = relu_pool(self.pooling, self.norm(x, train=train))
        return x

    def head_init(self) -> tuple[Initializer, Initializer]:
        """Return the initialisers of the head's kernel and bias."""
        return he_normal(), zeros


class KipConvNet(BlockNetwork):
    """A 3x3 convolution and ReLU, blocks of normalisation, 3x3 convolution, ReLU and 2x2 pooling, then a dense head.

    The network of Nguyen, Novak, Xiao and Lee (2021), in the form of github.com/yongchaoz/FRePo: all convolutions have
    the same width, all biases start as normal numbers with std 0.1, and one-channel images get no extra
    padding.
    """

    def body(self, x: Float[Array, "n h w c"], *, train: bool) -> Float[Array, "n ..."]:
        """Return the last block's output."""
        x = nn.relu(self.conv(self.width, bias_init=normal(KIP_BIAS_STD))(x))
        for _ in range(self.depth):
            x = self.conv(self.width, bias_init=normal(KIP_BIAS_STD))(self.norm(x, train=train))
            x = relu_pool(self.pooling, x)
        return x

    def head_init(self) -> tuple[Initializer, Initializer]:
        """Return the initialisers of the head's kernel and bias."""
        return LECUN_NORMAL, normal(KIP_BIAS_STD)

"""The convolutional network of the paper."""

import flax.linen as nn
import jax

from frepo.networks.convolution import convolution
from frepo.networks.head import dense_head
from frepo.networks.norm import normalize
from frepo.networks.padding import pad_one_channel
from frepo.networks.pooling import relu_pool
from frepo.networks.precision import numerics
from frepo.spec.architecture import BlockPooling, Normalization, Precision


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
    def __call__(self, x: jax.Array, *, train: bool) -> tuple[jax.Array, jax.Array]:
        """Map images [n, h, w, c] to (features [n, d], logits [n, num_classes]), both float32."""
        dtype, products = numerics(self.precision)
        x = pad_one_channel(x)
        for block in range(self.depth):
            if block > 0:
                x = normalize(self.normalization, x, train=train, batch_momentum=self.batch_momentum, dtype=dtype)
            x = convolution(self.width * 2**block, dtype, products)(x)
            x = relu_pool(self.pooling, x)
        return dense_head(x, self.num_classes, self.precision)

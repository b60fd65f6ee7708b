"""The convolutional network of kernel inducing points."""

import flax.linen as nn
import jax
from jax.nn.initializers import normal

from frepo.networks.convolution import convolution
from frepo.networks.head import dense_head
from frepo.networks.norm import normalize
from frepo.networks.pooling import relu_pool
from frepo.networks.precision import numerics
from frepo.spec.architecture import BlockPooling, Normalization, Precision

BIAS_DEVIATION = 0.1


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
    def __call__(self, x: jax.Array, *, train: bool) -> tuple[jax.Array, jax.Array]:
        """Map images [n, h, w, c] to (features [n, d], logits [n, num_classes]), both float32."""
        dtype, products = numerics(self.precision)
        bias_init = normal(BIAS_DEVIATION)
        x = nn.relu(convolution(self.width, dtype, products, bias_init=bias_init)(x))
        for _ in range(self.depth):
            x = normalize(self.normalization, x, train=train, batch_momentum=self.batch_momentum, dtype=dtype)
            x = convolution(self.width, dtype, products, bias_init=bias_init)(x)
            x = relu_pool(self.pooling, x)
        return dense_head(x, self.num_classes, self.precision, bias_init=bias_init)

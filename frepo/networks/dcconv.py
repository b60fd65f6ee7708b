"""The convolutional network of dataset condensation."""

import flax.linen as nn
import jax
from jax.nn.initializers import he_normal

from frepo.networks.convolution import convolution
from frepo.networks.head import dense_head
from frepo.networks.norm import normalize
from frepo.networks.padding import pad_one_channel
from frepo.networks.pooling import relu_pool
from frepo.networks.precision import numerics
from frepo.spec.architecture import BlockPooling, Normalization, Precision


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
    def __call__(self, x: jax.Array, *, train: bool) -> tuple[jax.Array, jax.Array]:
        """Map images [n, h, w, c] to (features [n, d], logits [n, num_classes]), both float32."""
        dtype, products = numerics(self.precision)
        x = pad_one_channel(x)
        for _ in range(self.depth):
            x = convolution(self.width, dtype, products, use_bias=False, kernel_init=he_normal())(x)
            x = normalize(self.normalization, x, train=train, batch_momentum=self.batch_momentum, dtype=dtype)
            x = relu_pool(self.pooling, x)
        return dense_head(x, self.num_classes, self.precision, kernel_init=he_normal())

"""The convolutional network of the paper."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from frepo.models.convolution import convolution
from frepo.models.norm import normalize
from frepo.models.pooling import relu_average_pool
from frepo.models.precision import numerics
from frepo.spec.architecture import Normalization, Precision


class ConvNet(nn.Module):
    """Blocks of 3x3 convolution, ReLU and 2x2 average pooling, width doubling, then a dense head.

    Normalisation comes before every convolution but the first. The first convolution of one-channel images has two
    more pixels of padding, which takes 28 pixels to 32.
    """

    num_classes: int
    width: int
    depth: int
    normalization: Normalization
    precision: Precision
    batch_momentum: float

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> tuple[jax.Array, jax.Array]:
        """Map images [n, h, w, c] to (features [n, d], logits [n, num_classes]), both float32."""
        dtype, products = numerics(self.precision)
        if x.shape[-1] == 1:
            x = jnp.pad(x, ((0, 0), (2, 2), (2, 2), (0, 0)))
        for block in range(self.depth):
            if block > 0:
                x = normalize(self.normalization, x, train=train, batch_momentum=self.batch_momentum, dtype=dtype)
            x = convolution(self.width * 2**block, dtype, products)(x)
            x = relu_average_pool(x)
        features = x.reshape(x.shape[0], -1)
        logits = nn.Dense(self.num_classes, dtype=dtype, precision=products)(features)
        return features.astype(jnp.float32), logits.astype(jnp.float32)

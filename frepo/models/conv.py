"""The convolutional network of the paper."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from frepo.models.convolution import convolution
from frepo.models.norm import normalize
from frepo.spec.architecture import Normalization


class ConvNet(nn.Module):
    """Blocks of 3x3 convolution, ReLU and 2x2 average pooling, width doubling, then a dense head.

    Normalisation comes before every convolution but the first. The first convolution of one-channel images has two
    more pixels of padding, which takes 28 pixels to 32.
    """

    num_classes: int
    width: int
    depth: int
    normalization: Normalization
    batch_momentum: float

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> tuple[jax.Array, jax.Array]:
        """Map images [n, h, w, c] to (features [n, d], logits [n, num_classes])."""
        if x.shape[-1] == 1:
            x = jnp.pad(x, ((0, 0), (2, 2), (2, 2), (0, 0)))
        for block in range(self.depth):
            if block > 0:
                x = normalize(self.normalization, x, train=train, batch_momentum=self.batch_momentum)
            x = convolution(self.width * 2**block)(x)
            x = nn.avg_pool(nn.relu(x), (2, 2), strides=(2, 2))
        features = x.reshape(x.shape[0], -1)
        return features, nn.Dense(self.num_classes)(features)

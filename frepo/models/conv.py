"""The convolutional network of the paper."""

import flax.linen as nn
import jax

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
        for block in range(self.depth):
            if block > 0:
                x = normalize(self.normalization, x, train=train, batch_momentum=self.batch_momentum)
            padding = 3 if block == 0 and x.shape[-1] == 1 else 1
            x = nn.Conv(self.width * 2**block, (3, 3), padding=padding)(x)
            x = nn.avg_pool(nn.relu(x), (2, 2), strides=(2, 2))
        features = x.reshape(x.shape[0], -1)
        return features, nn.Dense(self.num_classes)(features)

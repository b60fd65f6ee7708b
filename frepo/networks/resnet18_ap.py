"""ResNet-18 with average pooling in place of strides."""

import flax.linen as nn
import jax

from frepo.networks.head import dense_head
from frepo.networks.residual import ResidualStages
from frepo.spec.architecture import Normalization, Precision


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
    def __call__(self, x: jax.Array, *, train: bool) -> tuple[jax.Array, jax.Array]:
        """Map images [n, h, w, c] to (features [n, h/8 * w/8 * widths[-1]], logits [n, num_classes]), both float32."""
        stages = ResidualStages(self.widths, "average", self.normalization, self.precision, self.batch_momentum)
        return dense_head(stages(x, train=train), self.num_classes, self.precision)

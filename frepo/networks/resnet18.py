"""ResNet-18 for small images."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from frepo.networks.head import dense_head
from frepo.networks.residual import ResidualStages
from frepo.spec.architecture import Normalization, Precision


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
    def __call__(self, x: jax.Array, *, train: bool) -> tuple[jax.Array, jax.Array]:
        """Map images [n, h, w, c] to (features [n, widths[-1]], logits [n, num_classes]), both float32."""
        stages = ResidualStages(self.widths, "stride", self.normalization, self.precision, self.batch_momentum)
        x = jnp.mean(stages(x, train=train).astype(jnp.float32), axis=(1, 2))
        return dense_head(x, self.num_classes, self.precision)

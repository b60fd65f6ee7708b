"""The frame of all networks: normalisation and precision from the spec, a body, and a dense head."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.nn.initializers import Initializer, zeros
from jaxtyping import Array, Float, Float32

from frepo.networks.convolution import LECUN_NORMAL, convolution
from frepo.networks.layers import dense_head, normalize, numerics
from frepo.spec.architecture import Normalization, Precision


class Block(nn.Module):
    """A part of a network with its normalisation and convolution layers."""

    normalization: Normalization
    precision: Precision
    batch_momentum: float

    def norm(self, x: Float[Array, "n h w c"], *, train: bool) -> Float[Array, "n h w c"]:
        """Return x [n, h, w, c] after a normalisation layer."""
        dtype = numerics(self.precision).dtype
        return normalize(self.normalization, x, train=train, batch_momentum=self.batch_momentum, dtype=dtype)

    def conv(self, features: int, **options: Any) -> nn.Conv:
        """Return a 3x3 convolution that keeps height and width; `options` as in `convolution`."""
        return convolution(features, *numerics(self.precision), **options)


class ImageNetwork(Block):
    """A network: a body specific to its kind, and a dense head."""

    num_classes: int

    @nn.compact
    def __call__(
        self, x: Float[Array, "n h w c"], *, train: bool
    ) -> tuple[Float32[Array, "n d"], Float32[Array, "n {self.num_classes}"]]:
        """Map images [n, h, w, c] to (features [n, d], logits [n, num_classes]), both float32."""
        kernel_init, bias_init = self.head_init()
        return dense_head(self.body(x, train=train), self.num_classes, self.precision, kernel_init, bias_init)

    def body(self, x: Float[Array, "n h w c"], *, train: bool) -> Float[Array, "n ..."]:
        """Map images [n, h, w, c] to the input of the head, which flattens it to features."""
        raise NotImplementedError

    def head_init(self) -> tuple[Initializer, Initializer]:
        """Return the initialisers of the head's kernel and bias."""
        return LECUN_NORMAL, zeros


def num_parameters(model: ImageNetwork, image_shape: tuple[int, int, int]) -> int:
    """Return the number of learned weights of a network for images of `image_shape` (height, width, channels)."""
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), jnp.zeros((1, *image_shape)), train=False))
    return sum(leaf.size for leaf in jax.tree.leaves(shapes["params"]))

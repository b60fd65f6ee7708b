"""From an `[architecture]` table to a network."""

from frepo.errors import FrepoError
from frepo.models.conv import ConvNet
from frepo.spec import Conv


def build_model(
    architecture: Conv, num_classes: int, image_shape: tuple[int, int, int], batch_momentum: float = 0.9
) -> ConvNet:
    """Return the network of `architecture` for images of `image_shape` (height, width, channels).

    `batch_momentum` is the share of the old value in batch normalisation's running averages.

    Raises:
        FrepoError: the images are too small for so many blocks.
    """
    height, width, channels = image_shape
    side = min(height, width) + (4 if channels == 1 else 0)
    if side >> architecture.depth == 0:
        raise FrepoError(
            f"architecture.depth = {architecture.depth} halves images of {height}x{width} pixels to nothing; "
            f"at most {side.bit_length() - 1} blocks fit"
        )
    return ConvNet(
        num_classes,
        architecture.width,
        architecture.depth,
        architecture.normalization,
        architecture.precision,
        batch_momentum,
    )

"""From an `[architecture]` table to a network."""

from frepo.errors import FrepoError
from frepo.networks.base import ImageNetwork
from frepo.networks.convnets import ConvNet, DcConvNet, KipConvNet
from frepo.networks.layers import margin
from frepo.networks.plain import AlexNet, Vgg11
from frepo.networks.resnets import ResNet18, ResNet18Ap
from frepo.spec import architecture as tables


def build_model(
    architecture: tables.Architecture,
    num_classes: int,
    image_shape: tuple[int, int, int],
    batch_momentum: float = 0.9,
    softplus: float | None = None,
) -> ImageNetwork:
    """Return the network of `architecture` for images of `image_shape` (height, width, channels).

    `batch_momentum` is the weight of the old value in batch normalisation's running averages; `softplus` the sharpness
    of the softplus in place of ReLU, of `conv` only.

    Raises:
        FrepoError: the images are too small for the network.
    """
    added = 2 * margin(image_shape[2])
    normalization, precision = architecture.normalization, architecture.precision
    shared = normalization, precision, batch_momentum, num_classes
    match architecture:
        case tables.Conv(width=width, depth=depth, pooling=pooling):
            _require_room_for_blocks(architecture, image_shape, added)
            return ConvNet(*shared, width, depth, pooling, softplus)
        case tables.DcConv(width=width, depth=depth, pooling=pooling):
            _require_room_for_blocks(architecture, image_shape, added)
            return DcConvNet(*shared, width, depth, pooling)
        case tables.KipConv(width=width, depth=depth, pooling=pooling):
            _require_room_for_blocks(architecture, image_shape, 0)
            return KipConvNet(*shared, width, depth, pooling)
        case tables.AlexNet(pooling=pooling):
            _require_side(architecture, image_shape, 8 - added)
            return AlexNet(*shared, architecture.widths, pooling)
        case tables.Vgg11(pooling=pooling):
            _require_side(architecture, image_shape, 32 - added)
            return Vgg11(*shared, architecture.widths, pooling)
        case tables.ResNet18():
            # Instance normalisation turns the single pixel that remains of 8x8 images into zeros, whatever its value.
            _require_side(architecture, image_shape, 9 if normalization == "instance" else 1)
            return ResNet18(*shared, architecture.widths)
        case tables.ResNet18Ap():
            _require_side(architecture, image_shape, 16 if normalization == "instance" else 8)
            return ResNet18Ap(*shared, architecture.widths)


def _require_room_for_blocks(
    architecture: tables.Conv | tables.DcConv | tables.KipConv, image_shape: tuple[int, int, int], added: int
) -> None:
    height, width, _ = image_shape
    side = min(height, width) + added
    if architecture.pooling != "none" and side >> architecture.depth == 0:
        raise FrepoError(
            f"architecture.depth = {architecture.depth} halves images of {height}x{width} pixels to nothing; "
            f"at most {side.bit_length() - 1} blocks fit"
        )


def _require_side(architecture: tables.Architecture, image_shape: tuple[int, int, int], least: int) -> None:
    height, width, _ = image_shape
    if min(height, width) < least:
        raise FrepoError(
            f"architecture.type = {architecture.type!r} with normalization = {architecture.normalization!r} needs "
            f"images of at least {least}x{least} pixels, not {height}x{width}; set another type, or a larger "
            "resolution in [dataset]"
        )

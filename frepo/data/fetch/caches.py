"""Files of data sets that Keras or torchvision has downloaded."""

import os
from collections.abc import Iterator
from pathlib import Path

KERAS = "KERAS_HOME"
FOLDERS = {
    "mnist": ("MNIST/raw",),
    "fashion_mnist": ("fashion-mnist", "FashionMNIST/raw"),
    "cifar10": ("cifar-10-batches-py-target", "cifar-10-batches-py", "cifar-10-python.tar.gz"),
    "cifar100": ("cifar-100-python-target", "cifar-100-python", "cifar-100-python.tar.gz"),
}
"""Where they lie in Keras's folder `datasets`, and in the `root` of torchvision, which its examples call `data`."""


def downloaded(name: str) -> Iterator[Path]:
    """Yield files and folders that may hold the data set `name`: of `$KERAS_HOME`, and below `data` here."""
    keras = Path(os.environ.get(KERAS) or Path.home() / ".keras") / "datasets"
    for place in (keras, Path("data")):
        yield from (path for folder in FOLDERS.get(name, ()) if (path := place / folder).exists())

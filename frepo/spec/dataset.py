"""The table `[dataset]`."""

from typing import Annotated, Literal

from pydantic import Field

from frepo.spec.table import Table


class Standardize(Table):
    """Subtract a mean and divide by a deviation per channel (MNIST and Fashion-MNIST: the published ones)."""

    type: Literal["standardize"]
    """Standardise each channel."""


class Zca(Table):
    """Standardise, then whiten with the regularised inverse square root of the training covariance."""

    type: Literal["zca"]
    """Standardise each channel, then whiten (zero-phase component analysis)."""

    reg: Annotated[float, Field(gt=0)] = 0.1
    """Regularisation as a share of the mean eigenvalue: reg * tr(cov) / d is added to every eigenvalue."""


Preprocess = Annotated[Standardize | Zca, Field(discriminator="type")]


class Dataset(Table):
    """Which images to distill and how their pixels are prepared."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*(/[A-Za-z0-9_.\-]+)?(:\d+\.\d+\.\d+)?$")]
    """`digits` (built in: 1,797 real 8x8 digits), or a prepared TFDS image-classification data set such as `mnist`,
    `cifar10` or `name/config:1.0.0`."""

    preprocess: Preprocess = Standardize(type="standardize")
    """How pixels become network inputs: `{ type = "standardize" }` or `{ type = "zca", reg = 0.1 }`."""

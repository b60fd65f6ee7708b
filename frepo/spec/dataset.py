"""The table `[dataset]`."""

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from frepo.spec.names import HUB, DatasetName, is_of_hub
from frepo.spec.table import Count, Distinct, Fraction, Grown, Index, Positive, Side, Table

Class = Index


class Fitted(Table):
    """Fields of all preprocessing."""

    fitted_to: Annotated[tuple[Class, ...] | None, Field(strict=False, min_length=1), Distinct] = None
    """Fit to the training images of these classes only, by number. Left out: to all training images in use."""


class Standardize(Fitted):
    """Subtract a mean and divide by a std per channel (MNIST and Fashion-MNIST: the published ones)."""

    type: Literal["standardize"]
    """Standardise each channel."""


class Zca(Fitted, Grown):
    """Standardise, then whiten with the regularised inverse square root of the training covariance."""

    added = ("eps",)

    type: Literal["zca"]
    """Standardise each channel, then whiten (zero-phase component analysis)."""

    reg: Positive = 0.1
    """Regularisation as a share of the mean eigenvalue: reg * tr(cov) / d is added to every eigenvalue. Where there are
    fewer images than dimensions, the smallest sums, as many as images are missing, are set to one."""

    eps: Annotated[float, Field(gt=0, le=1)] | None = None
    """Whiten pixels in 0..1 that are not standardised, and add this to every eigenvalue in place of `reg` (0.1: the
    whitening by kornia in which sets of MTT and DATM are made)."""

    block: Side | None = None
    """Whiten checkerboard blocks, squares of this many pixels a side that take every s-th pixel of every s-th row,
    independently, with one covariance, the mean over all blocks (the paper: 64 at 128 pixels, so s = 2). Left out:
    whole images."""

    @model_validator(mode="after")
    def there_is_one_regularisation(self) -> "Zca":
        """Reject two that replace each other, and blocks, which whitening of bare pixels does not have."""
        if self.eps is not None and (self.reg != type(self).model_fields["reg"].default or self.block is not None):
            raise ValueError("eps goes without reg and without block")
        return self


Preprocess = Annotated[Standardize | Zca, Field(discriminator="type")]


COMMIT = r"^[0-9a-f]{40}$"


def _must_be_commit(revision: str) -> str:
    """Refuse a branch or a tag, which may stand for other images tomorrow."""
    if not re.fullmatch(COMMIT, revision):
        raise ValueError(
            f"{revision!r} is no commit of 40 hex digits; `frepo data prepare hf://OWNER/NAME` prints the newest one"
        )
    return revision


Commit = Annotated[str, AfterValidator(_must_be_commit), Field(json_schema_extra={"pattern": COMMIT})]
NonEmpty = Annotated[str, Field(min_length=1)]

IN_PARQUET = ("config", "train_split", "test_split", "image_column", "label_column")
READ_BY = {
    "path": ("image_folder", "parquet"),
    "test_fraction": ("image_folder", "parquet", HUB),
    "revision": (HUB,),
    **dict.fromkeys(IN_PARQUET, ("parquet", HUB)),
}
"""Fields that some data sets read only, by their names."""
STORED = ("name", *READ_BY, "resolution")
"""Fields that say which images are decoded, and how; all others select and prepare what was decoded."""


class Dataset(Grown):
    """Which images to distill and how their pixels are prepared."""

    added = ("revision", *IN_PARQUET)

    name: DatasetName
    """`digits` (built in: 1,797 real 8x8 digits), `image_folder` or `parquet` (your own images, see `path`), a data
    set listed by `frepo data list`, `hf://OWNER/NAME` (of the Hugging Face Hub, see `revision`), or any prepared TFDS
    image-classification data set, `name/config:1.0.0`; a data set that TFDS itself does not know needs its version."""

    path: str | None = None
    """Folder of an `image_folder`: `train/CLASS/*.png` and `test/CLASS/*.png` (or `val`), or `CLASS/*.png` alone. Or
    folder of `parquet` files: `train*.parquet` and `test*.parquet` (or `validation`), `train/*.parquet`, or as the Hub
    names them. A folder may move: a data set is identified by its pixels and labels alone."""

    revision: Commit | None = None
    """Commit of the data set of the Hub, 40 hex digits: its images stay what they are, and so do the results. `frepo
    data prepare hf://OWNER/NAME` prints the newest."""

    config: NonEmpty | None = None
    """Configuration, or subset, of parquet files: the folder that they lie in. Left out: the only one, or `default`."""

    train_split: NonEmpty | None = None
    """Split of parquet files to train on. Left out: `train`."""

    test_split: NonEmpty | None = None
    """Split of parquet files to test on. Left out: the first there is of `test`, `validation`, `valid` and `val`."""

    image_column: NonEmpty | None = None
    """Column of parquet files with encoded images, or with structs of `bytes` and `path`. Left out: the only one, or
    the one called `image` or `img`."""

    label_column: NonEmpty | None = None
    """Column of parquet files with labels, integers. Left out: the one called `label`, `labels` or `fine_label`, or the
    only one whose classes the file names."""

    test_fraction: Fraction | None = None
    """Share of each class to split off for testing, if an `image_folder`, parquet files or a data set of the Hub have
    no test images."""

    resolution: Side | None = None
    """Cut images to their middle square and resize it, by area, to this many pixels a side. Left out: keep their
    size."""

    classes: Annotated[tuple[Class, ...] | None, Field(strict=False, min_length=2), Distinct] = None
    """Use these classes only, by number, renumbered in this order. Left out: all classes."""

    label_classes: Annotated[Count, Field(ge=2)] | None = None
    """Number of classes C of the labels, of which `classes` are a part: an image's own class has 1 minus 1/C, the
    others minus 1/C. Left out: the number of classes used."""

    train_fraction: Fraction | None = None
    """Use this share of each class's training images only, the same images for every seed. Left out: all images."""

    chunk_size: Count | None = None
    """Use this many training images only: one chunk, see `chunk_index`, of a shuffled order that is always the same."""

    chunk_index: Index | None = None
    """Number of the chunk: 0 for the first `chunk_size` images, 1 for the next, and so on."""

    preprocess: Preprocess = Standardize(type="standardize")
    """Preprocessing from pixels to network inputs: `{ type = "standardize" }` or `{ type = "zca", reg = 0.1 }`. Fitted
    to the training images in use."""

    @model_validator(mode="after")
    def a_chunk_has_size_and_index(self) -> "Dataset":
        """Reject one without the other."""
        if (self.chunk_size is None) != (self.chunk_index is None):
            raise ValueError("chunk_size and chunk_index go together")
        return self

    @model_validator(mode="after")
    def classes_are_a_part_of_those_in_labels(self) -> "Dataset":
        """Reject labels of more classes than used if all classes are used, and of fewer classes than used."""
        if self.label_classes is None:
            return self
        if self.classes is None:
            raise ValueError("label_classes needs classes, which are a part of them")
        if self.label_classes < len(self.classes):
            raise ValueError(f"label_classes = {self.label_classes} is less than the {len(self.classes)} classes used")
        return self

    @model_validator(mode="after")
    def fields_belong_to_the_name(self) -> "Dataset":
        """Reject a field that nothing would read, and a name without what it needs."""
        if self.name in READ_BY["path"] and self.path is None:
            raise ValueError(f"name = '{self.name}' needs path = 'FOLDER'")
        if is_of_hub(self.name) and self.revision is None:
            raise ValueError(
                f"name = '{self.name}' needs revision = 'COMMIT', 40 hex digits, by which its images stay the same: "
                f"`frepo data prepare {self.name}` fetches the newest commit and prints it"
            )
        kind = HUB if is_of_hub(self.name) else self.name
        for field, kinds in READ_BY.items():
            if getattr(self, field) is not None and kind not in kinds:
                names = " and ".join(f"'{HUB}OWNER/NAME'" if name == HUB else f"'{name}'" for name in kinds)
                raise ValueError(f"{field} is read by name = {names} only")
        return self

    def as_stored(self) -> "Dataset":
        """Return the part of the table that decoding depends on, the same for all selections from one data set."""
        return type(self).model_construct(**{name: getattr(self, name) for name in STORED})


def without_place(tables: dict[str, Any]) -> dict[str, Any]:
    """Return tables, as JSON, without the place of their images: a data set is its pixels and labels.

    Results of other images in the same place differ in the fingerprint of the pixels, computed when they are read.
    """
    if "dataset" not in tables:
        return tables
    return {**tables, "dataset": {**tables["dataset"], "path": None}}

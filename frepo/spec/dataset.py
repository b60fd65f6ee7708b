"""The table `[dataset]`."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from frepo.spec.names import DatasetName
from frepo.spec.table import Count, Distinct, Fraction, Index, Positive, Side, Table

Class = Index


class Fitted(Table):
    """What all preprocessing shares."""

    fitted_to: Annotated[tuple[Class, ...] | None, Field(strict=False, min_length=1), Distinct] = None
    """Fit to the training images of these classes only, by number. Left out: to all that are used."""


class Standardize(Fitted):
    """Subtract a mean and divide by a deviation per channel (MNIST and Fashion-MNIST: the published ones)."""

    type: Literal["standardize"]
    """Standardise each channel."""


class Zca(Fitted):
    """Standardise, then whiten with the regularised inverse square root of the training covariance."""

    type: Literal["zca"]
    """Standardise each channel, then whiten (zero-phase component analysis)."""

    reg: Positive = 0.1
    """Regularisation as a share of the mean eigenvalue: reg * tr(cov) / d is added to every eigenvalue. Where there are
    fewer images than dimensions, the smallest of these sums, as many as there are too few images, are set to one."""

    block: Side | None = None
    """Whiten checkerboard blocks, squares of so many pixels a side that take every s-th pixel of every s-th row, each
    by itself, with one covariance, the mean over all blocks (the paper: 64 at 128 pixels, so s = 2). Left out: whole
    images."""


Preprocess = Annotated[Standardize | Zca, Field(discriminator="type")]


class Dataset(Table):
    """Which images to distill and how their pixels are prepared."""

    name: DatasetName
    """`digits` (built in: 1,797 real 8x8 digits), `image_folder` (your own, see `path`), a data set that
    `frepo data list` names, or any prepared TFDS image-classification data set, `name/config:1.0.0`; one that TFDS
    itself does not know needs its version."""

    path: str | None = None
    """Folder of an `image_folder`: `train/CLASS/*.png` and `test/CLASS/*.png` (or `val`), or `CLASS/*.png` alone. A
    folder that has moved, with the same images, is the same data set: only its pixels and labels tell results apart."""

    test_fraction: Fraction | None = None
    """Share of each class of an `image_folder` that is split off for testing, where it has no folder for that."""

    resolution: Side | None = None
    """Cut images to their middle square and resize it, by area, to so many pixels a side. Left out: as they are."""

    classes: Annotated[tuple[Class, ...] | None, Field(strict=False, min_length=2), Distinct] = None
    """Use these classes only, by number; they are numbered anew in this order. Left out: all."""

    label_classes: Annotated[Count, Field(ge=2)] | None = None
    """Labels are those of so many classes, of which `classes` are a part: an image's own class has 1 minus 1/C, the
    others minus 1/C, for C of these. Left out: C is the number of classes used."""

    train_fraction: Fraction | None = None
    """Use this share of each class's training images only, the same ones for every seed. Left out: all."""

    chunk_size: Count | None = None
    """Use so many training images only: one piece, see `chunk_index`, of a shuffled order that is always the same."""

    chunk_index: Index | None = None
    """Which piece: 0 for the first `chunk_size` images, 1 for the next, and so on."""

    preprocess: Preprocess = Standardize(type="standardize")
    """How pixels become network inputs: `{ type = "standardize" }` or `{ type = "zca", reg = 0.1 }`. Fitted to the
    training images that are used."""

    @model_validator(mode="after")
    def a_chunk_has_size_and_index(self) -> "Dataset":
        """Reject one without the other."""
        if (self.chunk_size is None) != (self.chunk_index is None):
            raise ValueError("chunk_size and chunk_index go together")
        return self

    @model_validator(mode="after")
    def classes_are_a_part_of_those_in_labels(self) -> "Dataset":
        """Reject labels of more classes than are used where all are, and of fewer than are used."""
        if self.label_classes is None:
            return self
        if self.classes is None:
            raise ValueError("label_classes is read together with classes, which are a part of them")
        if self.label_classes < len(self.classes):
            raise ValueError(f"label_classes = {self.label_classes} is less than the {len(self.classes)} classes used")
        return self

    @model_validator(mode="after")
    def a_path_belongs_to_an_image_folder(self) -> "Dataset":
        """Reject a folder that nothing would read, and an image folder without one."""
        if self.name == "image_folder" and self.path is None:
            raise ValueError("name = 'image_folder' needs path = 'FOLDER'")
        if self.name != "image_folder" and (self.path is not None or self.test_fraction is not None):
            raise ValueError("path and test_fraction are read by name = 'image_folder' only")
        return self


def without_place(tables: dict[str, Any]) -> dict[str, Any]:
    """Return tables, as JSON, without where their images lie: a data set is its pixels and labels.

    Results of other images at the same place are told by the fingerprint of the pixels, found when they are read.
    """
    if "dataset" not in tables:
        return tables
    return {**tables, "dataset": {**tables["dataset"], "path": None}}

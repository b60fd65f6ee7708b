"""Names of data sets that a spec may use, known without reading any data."""

import difflib
import re
from typing import Annotated

from pydantic import AfterValidator, Field

NAME = r"^[A-Za-z][A-Za-z0-9_]*(/[A-Za-z0-9_.\-]+)?(:\d+\.\d+\.\d+)?$"
HUB = "hf://"
HUB_NAME = r"^hf://[A-Za-z0-9][A-Za-z0-9_.\-]*/[A-Za-z0-9][A-Za-z0-9_.\-]*$"
OWN = ("digits", "image_folder", "parquet", "tiny_imagenet", "imagenette", "imagewoof")
"""Data sets that frepo reads itself."""
TFDS = """
    beans binary_alpha_digits caltech101 caltech_birds2010 caltech_birds2011 cars196 cassava cats_vs_dogs cifar10
    cifar100 cifar100_n cifar10_1 cifar10_corrupted cifar10_h cifar10_n citrus_leaves cmaterdb coil100
    colorectal_histology controlled_noisy_web_labels curated_breast_imaging_ddsm deep_weeds
    diabetic_retinopathy_detection dmlab domainnet dsprites dtd emnist eurosat fashion_mnist food101
    geirhos_conflict_stimuli horses_or_humans i_naturalist2017 i_naturalist2018 i_naturalist2021 imagenet2012
    imagenet2012_corrupted imagenet2012_fewshot imagenet2012_real imagenet2012_subset imagenet_a imagenet_lt
    imagenet_pi imagenet_r imagenet_resized imagenet_sketch imagenet_v2 imagenette imagewang kmnist malaria mnist
    mnist_corrupted omniglot oxford_flowers102 oxford_iiit_pet patch_camelyon pet_finder places365_small placesfull
    plant_leaves plant_village plantae_k pneumonia_mnist quickdraw_bitmap resisc45 rock_paper_scissors s3o4d
    shapes3d siscore smallnorb so2sat stanford_dogs stanford_online_products stl10 sun397 svhn_cropped
    symmetric_solids tf_flowers uc_merced visual_domain_decathlon wake_vision
""".split()  # noqa: SIM905 (to be read, and written, by people)
"""Data sets of tensorflow-datasets 4.9 with an image and a class label, by the features that they declare."""
ALIASES = {
    "svhn": "svhn_cropped",
    "fmnist": "fashion_mnist",
    "cub200": "caltech_birds2011",
    "imagenet": "imagenet_resized/64x64",
    "imagenet1k": "imagenet2012",
}
"""Names of data sets in the literature, in small letters without punctuation."""
KNOWN = tuple(dict.fromkeys((*OWN, *TFDS)))

MIRROR_CHANGES_CLASS = (
    *("digits", "mnist", "fashion_mnist", "svhn_cropped", "emnist", "kmnist", "mnist_corrupted", "binary_alpha_digits"),
    *("cmaterdb", "omniglot"),
)
"""Data sets of digits and letters, whose mirror images have another meaning or none; and Fashion-MNIST, which the paper
does not mirror either."""


def is_of_hub(name: str) -> bool:
    """Return whether the data set `name` is one of the Hugging Face Hub, `hf://OWNER/NAME`."""
    return name.startswith(HUB)


def family_of(name: str) -> str:
    """Return the name of a data set without its config and version; of one of the Hub, without its owner."""
    if is_of_hub(name):
        return name.rpartition("/")[2].replace("-", "_")
    return re.split("[/:]", name, maxsplit=1)[0]


def must_be_known(name: str) -> str:
    """Refuse a name that is not the name of a data set, and suggest the one probably meant.

    A user's own data set, prepared by TFDS, is distinguished from a misspelling by the version after its name.

    Raises:
        ValueError: it is not a valid name, or not a known one.
    """
    if is_of_hub(name):
        if not re.fullmatch(HUB_NAME, name):
            raise ValueError(f"{name!r} is not allowed; a data set of the Hugging Face Hub is hf://OWNER/NAME")
        return name
    family = family_of(name)
    is_name = re.fullmatch(NAME, name)
    if is_name and family in KNOWN:
        return name
    near = _nearest(family)
    if not is_name:
        meant = f", did you mean `{near}`?" if near else ""
        raise ValueError(f"{name!r} is not allowed{meant}; it must match {NAME}{_as_of_hub(name)}")
    misspelt = near is not None and _bare(near) == _bare(family)
    if ":" in name and not misspelt:
        return name
    meant = (
        f", did you mean `{near}`?" if near else f"; known are {', '.join(OWN)}, those of `frepo data list` and of TFDS"
    )
    own = (
        "" if misspelt else f"; of a data set of your own that TFDS has prepared, name the version too: {family}:1.0.0"
    )
    raise ValueError(f"{name!r} is no known data set{meant}{own}{_as_of_hub(name)}")


def _nearest(family: str) -> str | None:
    """Return the known name that is equal up to case and punctuation, or else a similar one, or None."""
    by_bare = {_bare(name): name for name in KNOWN} | ALIASES
    near = difflib.get_close_matches(_bare(family), by_bare, n=1, cutoff=0.75)
    return by_bare[near[0]] if near else None


def _as_of_hub(name: str) -> str:
    """Return how a data set of the Hub of this name would be written, if it can be one."""
    return f"; of the Hugging Face Hub it is {HUB}{name}" if re.fullmatch(HUB_NAME, f"{HUB}{name}") else ""


def _bare(name: str) -> str:
    return re.sub("[^a-z0-9]", "", name.lower())


DatasetName = Annotated[str, AfterValidator(must_be_known), Field(json_schema_extra={"pattern": f"{NAME}|{HUB_NAME}"})]
"""The name of a data set, optionally with its TFDS config and version: `name/config:1.0.0`; or `hf://OWNER/NAME`."""

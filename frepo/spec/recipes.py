"""Recipes of the literature by name: how authors train networks on their distilled images to test them.

Each is a set of fields of `Recipe`, and the network that goes with it. Read off the authors' public code; where fields
cannot say what that code does, the difference is stated.
"""

from collections.abc import Set
from dataclasses import dataclass
from typing import Any, Literal

RecipeName = Literal["frepo", "rcig", "dc", "dsa", "dm", "mtt", "datm", "rat_bptt", "dd_ranking"]

_SGD: dict[str, Any] = {
    "optimizer": "sgd",
    "momentum": 0.9,
    "learning_rate": 0.01,
    "weight_decay": 5e-4,
    "decay": "coupled",
    "schedule": "step",
    "warmup_steps": 0,
    "batch_size": 256,
    "loss": "xent",
    "labels": "hard",
    "normalization": "instance",
}
"""Training by PyTorch's SGD, as from dataset condensation on; its step is at half of the training."""
_DSA = {**_SGD, "epochs": 1000, "augmentation_strategy": "dsa"}
_NO_NORM = {"type": "conv", "width": 128, "normalization": "identity"}
_INSTANCE = {"type": "dcconv", "width": 128, "normalization": "instance"}


@dataclass(frozen=True)
class Known:
    """A recipe of the literature.

    Attributes:
        fields: what differs from the defaults of `[[application]]`.
        architecture: the table `[architecture]` that its numbers are for, but for the depth.
        source: where it was read.
        differences: what its authors' code does otherwise, in sentences.
    """

    fields: dict[str, Any]
    architecture: dict[str, Any]
    source: str
    differences: str = ""


RECIPES: dict[RecipeName, Known] = {
    "frepo": Known(
        {"normalization": "identity"},
        _NO_NORM,
        "Zhou et al. 2022; github.com/yongchaoz/FRePo, lib/datadistillation/frepo.py",
        "Batches of all images are not shuffled there; 200 images are trained on for 20,000 steps.",
    ),
    "rcig": Known(
        {"learning_rate": 1e-4, "augmentation_mode": "each", "mirrored": True, "normalization": "identity"},
        _NO_NORM,
        "Loo et al. 2023; github.com/yolky/RCIG, eval.py",
        "More than 100 images are trained on for 2,000 steps there (set steps), in batches of 256; the square error is "
        "divided by the number of classes, which Adam takes out again.",
    ),
    "dc": Known(
        {**_SGD, "epochs": 300, "augmentation": (), "num_models": 20},
        _INSTANCE,
        "Zhao et al. 2021; github.com/VICO-UoE/DatasetCondensation, utils.py",
        "A new optimiser is made at the step, one epoch after the middle; digits are augmented (crop, scale, rotate).",
    ),
    "dsa": Known(
        {**_DSA, "num_models": 20},
        _INSTANCE,
        "Zhao and Bilen 2021; github.com/VICO-UoE/DatasetCondensation, utils.py",
        "A new optimiser is made at the step, one epoch after the middle; fashion_mnist is mirrored.",
    ),
    "dm": Known(
        {**_DSA, "num_models": 20},
        _INSTANCE,
        "Zhao and Bilen 2023; github.com/VICO-UoE/DatasetCondensation, main_DM.py",
        "As for dsa.",
    ),
    "mtt": Known(
        _DSA,
        _INSTANCE,
        "Cazenavette et al. 2022; github.com/GeorgeCazenavette/mtt-distillation, utils.py",
        "The learning rate is learned with the images there, and not in their file: set learning_rate where it is "
        "known. Sets of CIFAR are whitened in another way (preprocess = { type = 'zca', eps = 0.1 }).",
    ),
    "datm": Known(
        {**_DSA, "batch_size": 128, "loss": "soft_xent", "labels": "soft"},
        _INSTANCE,
        "Guo et al. 2024; github.com/NUS-HPC-AI-Lab/DATM, utils/utils_baseline.py",
        "The learning rate is learned with the images there (lr_best.pt): set learning_rate. Whitened as for mtt.",
    ),
    "rat_bptt": Known(
        {
            "optimizer": "adam",
            "learning_rate": 1e-3,
            "schedule": "constant",
            "warmup_steps": 0,
            "steps": 1000,
            "loss": "xent",
            "labels": "hard",
            "augmentation": ("flip", "rotate"),
            "num_models": 8,
            "normalization": "instance",
        },
        _INSTANCE,
        "Feng et al. 2024; github.com/fengyzpku/Simple_Dataset_Distillation, framework/base.py",
        "There the best of 300, 600, 1,000 and 3,000 steps by test accuracy is reported; learned labels go into the "
        "cross-entropy as they are.",
    ),
    "dd_ranking": Known(
        {**_SGD, "epochs": 300, "augmentation": (), "mix": "cutmix"},
        _INSTANCE,
        "Li et al. 2025; ddranking 0.2.0, metrics/hard_label.py",
        "Labels are not mixed with the images there, the best of all checks by test accuracy is reported, and without "
        "a learning rate the best of five by test accuracy.",
    ),
}


def with_recipe(given: dict[str, Any], fields: Set[str]) -> dict[str, Any]:
    """Return the table `given` with what its `recipe`, if it names one, sets and it does not; only `fields` are set.

    A field that a given one takes the meaning from is not set: `momentum` where another optimiser is given.
    """
    name: Any = given.get("recipe")
    if not isinstance(name, str) or name not in RECIPES:  # validation says what is wrong
        return given
    known = RECIPES[name]
    left_out = {name for name, others in REPLACED_BY.items() if any(other in given for other in others)}
    return {**{name: value for name, value in known.fields.items() if name in fields - left_out}, **given}


REPLACED_BY = {
    "momentum": ("optimizer",),
    "decay": ("optimizer",),
    "epochs": ("steps", "train_steps"),
    "steps": ("epochs", "train_steps"),
    "learning_rate": ("learning_rates",),
    "labels": ("loss",),
    "augmentation": ("augmentation_strategy",),
}
"""Field of a recipe -> the fields of a spec that leave it without a meaning, or with another one."""

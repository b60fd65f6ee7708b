"""Distilled data as named arrays and texts, which is how .npz and .safetensors files hold it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from frepo.data.preprocess import FittedPreprocess
from frepo.errors import FrepoError
from frepo.exchange.export.exported import Exported

FORMAT = "frepo distilled data 1"
"""Its number is raised when what is stored changes its meaning."""

PREPROCESS = ("mean", "deviation", "center", "whiten", "color")
TEXTS = ("format", "class_names", "block", "recipe", "provenance")


def to_arrays(exported: Exported) -> dict[str, np.ndarray]:
    """Return the arrays by the names that they are stored under.

    `frepo import` takes `images` and `labels`, and finds no other pair of names that it knows.
    """
    arrays = {
        "images": exported.images,
        "labels": exported.soft_labels,
        "hard_labels": exported.hard_labels,
        "pixels": exported.pixels,
    }
    return {name: np.ascontiguousarray(array) for name, array in arrays.items()} | preprocess_arrays(
        exported.preprocess
    )


def preprocess_arrays(preprocess: FittedPreprocess) -> dict[str, np.ndarray]:
    """Return the arrays of a preprocessing, those that it has."""
    arrays = {name: getattr(preprocess, name) for name in PREPROCESS}
    return {name: np.ascontiguousarray(array) for name, array in arrays.items() if array is not None}


def to_texts(exported: Exported) -> dict[str, str]:
    """Return what is no array, each entry as a JSON text by the name that it is stored under."""
    return {
        "format": json.dumps(FORMAT),
        "class_names": json.dumps(exported.class_names),
        "block": json.dumps(exported.preprocess.block),
        "recipe": json.dumps(exported.recipe),
        "provenance": json.dumps(exported.provenance),
    }


def from_stored(path: Path, arrays: Mapping[str, np.ndarray], texts: Mapping[str, str]) -> Exported:
    """Return what was stored in the file `path`.

    Raises:
        FrepoError: something is missing, or does not fit the rest.
    """
    missing = [name for name in TEXTS if name not in texts]
    missing += [
        name for name in ("images", "labels", "hard_labels", "pixels", "mean", "deviation") if name not in arrays
    ]
    if missing:
        raise FrepoError(f"{path} is no export of frepo: it has no {', '.join(missing)}")
    try:
        values: dict[str, Any] = {name: json.loads(texts[name]) for name in TEXTS}
    except (ValueError, RecursionError) as error:
        raise FrepoError(f"{path} is damaged ({error}); export the run again") from None
    if values["format"] != FORMAT:
        raise FrepoError(
            f"{path} is of the format {str(values['format'])[:40]!r}; this version of frepo reads {FORMAT!r}"
        )
    _check(path, arrays, values)
    preprocess = FittedPreprocess(
        **{name: arrays[name] for name in PREPROCESS if name in arrays}, block=values["block"]
    )
    return Exported(
        images=arrays["images"],
        pixels=arrays["pixels"],
        soft_labels=arrays["labels"],
        hard_labels=arrays["hard_labels"],
        class_names=tuple(values["class_names"]),
        preprocess=preprocess,
        recipe=values["recipe"],
        provenance=values["provenance"],
    )


def _check(path: Path, arrays: Mapping[str, np.ndarray], values: Mapping[str, Any]) -> None:
    """Hold kinds and shapes against each other."""
    for name, array in arrays.items():
        if array.dtype != (np.int32 if name == "hard_labels" else np.float32):
            raise FrepoError(f"{path} is damaged: {name} is {array.dtype}; export the run again")
    names, block = values["class_names"], values["block"]
    if not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        raise FrepoError(f"{path} is damaged: class_names is no list of names; export the run again")
    if not (block is None or (type(block) is int and block > 0)):
        raise FrepoError(f"{path} is damaged: block is {block!r}; export the run again")
    if not (isinstance(values["recipe"], dict) and isinstance(values["provenance"], dict)):
        raise FrepoError(f"{path} is damaged: recipe or provenance is no table; export the run again")
    shape = arrays["images"].shape
    if len(shape) != 4 or 0 in shape:
        raise FrepoError(f"{path} is damaged: images have the shape {shape}; export the run again")
    image = shape[1:]
    dimension = int(np.prod(image)) if block is None else block * block * image[2]
    wanted = {
        "images": shape,
        "pixels": shape,
        "labels": (shape[0], len(names)),
        "hard_labels": shape[:1],
        "mean": image[2:],
        "deviation": image[2:],
        "center": image,
        "whiten": (dimension, dimension),
        "color": (dimension, dimension),
    }
    for name, array in arrays.items():
        if array.shape != wanted.get(name):
            raise FrepoError(f"{path} is damaged: {name} has the shape {array.shape}; export the run again")
    if len({name in arrays for name in ("center", "whiten", "color")}) > 1:
        raise FrepoError(f"{path} is damaged: it has a part of the whitening only; export the run again")

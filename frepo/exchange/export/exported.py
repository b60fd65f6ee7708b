"""Exported distilled data: the contents of every export, and their way into and out of .npz and .safetensors files."""

import json
import math
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
from safetensors import safe_open

from frepo.data.preprocess import FittedPreprocess
from frepo.errors import FrepoError
from frepo.exchange.export import MotionFormat

NPZ = "data.npz"
SAFETENSORS = "data.safetensors"
RECIPE = "recipe.json"
PROVENANCE = "provenance.json"
EVOLUTIONS: dict[MotionFormat, str] = {kind: f"evolution.{kind}" for kind in get_args(MotionFormat)}
FORMAT = "frepo distilled data 2"
"""Its number is raised when what is stored changes its meaning."""
WHITENING = {FORMAT: ("center", "whiten_upper"), "frepo distilled data 1": ("center", "whiten", "color")}
"""What each format that can be read stores of a whitening; the first one had both matrices in full."""
TEXTS = ("format", "class_names", "block", "recipe", "provenance")


@dataclass(frozen=True, eq=False)
class Exported:
    """Distilled data with all that is needed to train on it and to test what was trained.

    Attributes:
        images: float32 [n, h, w, c], network inputs as they were learned.
        pixels: float32 [n, h, w, c], the images with the preprocessing undone; nominally 0..1, not clipped.
        soft_labels: float32 [n, C], centred as they were learned: one-hot labels minus 1/C are their like.
        hard_labels: int32 [n], the class at which a soft label is largest.
        class_names: C names.
        preprocess: from pixels, test images' for one, to network inputs; its `whiten` is exactly symmetric.
        recipe: JSON of the evaluation's `frepo.spec.Recipe`, `steps` and `learning_rate` resolved, and `architecture`,
            the table of the network that it trains.
        provenance: JSON: `run_id`, `name`, `fingerprint`, `spec`, `frepo` (version), `code` (of frepo: sha256,
            commit, dirty), `dataset` (facts) and `accuracies`, a row for each finished evaluation of this data.
    """

    images: np.ndarray
    pixels: np.ndarray
    soft_labels: np.ndarray
    hard_labels: np.ndarray
    class_names: tuple[str, ...]
    preprocess: FittedPreprocess
    recipe: dict[str, Any]
    provenance: dict[str, Any]

    @property
    def accuracy(self) -> dict[str, Any] | None:
        """The row of `accuracies` of networks trained by the exported recipe; None where it was not evaluated."""
        rows = self.provenance.get("accuracies", [])
        return next((row for row in rows if row["exported_recipe"] and row["predictor"] == "network"), None)


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
    """Return the arrays of a preprocessing, those that it has; of the symmetric `whiten`, its upper triangle.

    Its inverse is left out: it only leads back to pixels, and in each export pixels are there.
    """
    arrays = {"mean": preprocess.mean, "deviation": preprocess.deviation, "center": preprocess.center}
    if preprocess.whiten is not None:
        arrays["whiten_upper"] = upper_triangle(preprocess.whiten)
    return {name: np.ascontiguousarray(array) for name, array in arrays.items() if array is not None}


def upper_triangle(matrix: np.ndarray) -> np.ndarray:
    """Return the upper triangle of a matrix [d, d], diagonal included, row by row: [d * (d + 1) / 2]."""
    return matrix[np.triu_indices(len(matrix))]


def symmetric(upper: np.ndarray) -> np.ndarray:
    """Return the symmetric matrix [d, d] of which [d * (d + 1) / 2] numbers are the upper triangle, row by row."""
    dimension = math.isqrt(2 * len(upper))
    rows, columns = np.triu_indices(dimension)
    matrix = np.empty((dimension, dimension), upper.dtype)
    matrix[rows, columns] = matrix[columns, rows] = upper
    return matrix


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
    if values["format"] not in WHITENING:
        raise FrepoError(
            f"{path} is of the format {str(values['format'])[:40]!r}; this version of frepo reads {FORMAT!r}"
        )
    _check(path, arrays, values)
    upper = arrays.get("whiten_upper")
    preprocess = FittedPreprocess(
        mean=arrays["mean"],
        deviation=arrays["deviation"],
        center=arrays.get("center"),
        whiten=arrays.get("whiten") if upper is None else symmetric(upper),
        color=arrays.get("color"),
        block=values["block"],
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
    whitening = {
        "center": image,
        "whiten_upper": (dimension * (dimension + 1) // 2,),
        "whiten": (dimension, dimension),
        "color": (dimension, dimension),
    }
    parts = WHITENING[values["format"]]
    wanted = {
        "images": shape,
        "pixels": shape,
        "labels": (shape[0], len(names)),
        "hard_labels": shape[:1],
        "mean": image[2:],
        "deviation": image[2:],
        **{name: whitening[name] for name in parts},
    }
    for name, array in arrays.items():
        if array.shape != wanted.get(name):
            raise FrepoError(f"{path} is damaged: {name} has the shape {array.shape}; export the run again")
    if len({name in arrays for name in parts}) > 1:
        raise FrepoError(f"{path} is damaged: it has a part of the whitening only; export the run again")


def load(path: Path | str) -> Exported:
    """Return the distilled data of an export as npz, safetensors or torch: its directory or its data file.

    All comes back bit for bit, without the inverse of a whitening, which is not stored. Nothing is unpickled.

    Raises:
        FrepoError: there is no such file, or it is damaged or none of these.
    """
    path = _file(Path(path))
    read = _reader(path)
    try:
        arrays, texts = read(path)
    except MemoryError:
        raise FrepoError(f"{path} cannot be read: it asks for more memory than there is") from None
    except Exception as error:  # the readers raise many kinds for bytes that are not theirs
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise FrepoError(f"{path} cannot be read ({reason}); export the run again") from None
    return from_stored(path, arrays, texts)


def _file(path: Path) -> Path:
    if path.is_dir():
        found = [path / name for name in (NPZ, SAFETENSORS) if (path / name).is_file()]
        if not found:
            raise FrepoError(f"{path} has no {NPZ} and no {SAFETENSORS}: export a run as npz, safetensors or torch")
        return found[0]
    if not path.is_file():
        raise FrepoError(f"there is no file {path}")
    return path


def _reader(path: Path) -> Callable[[Path], tuple[dict[str, np.ndarray], dict[str, str]]]:
    try:
        with path.open("rb") as file:
            return _npz if file.read(4) == b"PK\x03\x04" else _safetensors
    except OSError as error:
        raise FrepoError(f"{path} cannot be read: {error.strerror}") from None


def _npz(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    if not zipfile.is_zipfile(path):
        raise ValueError("it ends too early")
    with zipfile.ZipFile(path) as archive:
        if any(member.file_size != member.compress_size for member in archive.infolist()):
            raise ValueError("it is compressed, as exports are not")  # and may be a thousand times as large then
    with np.load(path, allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    texts = {name: arrays.pop(name) for name in TEXTS if name in arrays}
    return arrays, {name: text.item() for name, text in texts.items() if text.dtype.kind == "U" and text.ndim == 0}


def _safetensors(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    with safe_open(path, framework="numpy") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118 (no dict)

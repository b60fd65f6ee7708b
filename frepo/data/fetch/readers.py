"""Publishers' files -> images and labels, without TensorFlow."""

import io
import math
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from frepo.data.dataset import RawSplits
from frepo.data.fetch.class_names import CLASS_NAMES
from frepo.data.fetch.found import Found, files_below, find
from frepo.data.fetch.matlab import read_arrays
from frepo.data.fetch.parquet import read_parquet
from frepo.data.pickles.arrays import NAMES, NumpyArray
from frepo.data.pickles.plain import PlainPickle
from frepo.errors import FrepoError

Split = tuple[np.ndarray, np.ndarray]
"""Images uint8 [n, height, width, channels], labels int32 [n]."""

IDX = re.compile(r"(train|t10k)-(images[-.]idx3|labels[-.]idx1)-ubyte")
PIXELS = 32 * 32 * 3


def read_published(name: str, paths: Iterable[Path]) -> RawSplits:
    """Return the data set `name` from its publisher's files: files, archives, or folders that hold them.

    Raises:
        FrepoError: they are not there, ambiguous or damaged; the message says which files are needed.
    """
    origin = list(paths)
    read = {"cifar10": _cifar, "cifar100": _cifar, "svhn_cropped": _svhn}.get(name, _idx)
    train, test = read(name, origin)
    names = CLASS_NAMES[name]
    for images, labels in (train, test):
        if len(images) != len(labels) or not len(labels) or labels.min() < 0 or labels.max() >= len(names):
            where = ", ".join(map(str, origin))
            raise FrepoError(
                f"{where}: {len(images):,} images with {len(labels):,} labels, not all 0 to {len(names) - 1}"
            )
    return RawSplits(*train, *test, names)


def _idx(name: str, origin: list[Path]) -> tuple[Split, Split]:
    found = find(origin, IDX, enough=4)
    if len(found) != 1:
        several = "; ".join(place.where for place in found)
        raise _needed(
            origin,
            f"the four files of {name}, train-images-idx3-ubyte.gz and so on",
            f"several times: {several}; name one folder" if found else "",
        )
    parts = {tuple(re.split("[-.]", file)[:2]): _parse_idx(place, file) for place in found for file in place.files}
    splits = [
        (parts[split, "images"][..., None], parts[split, "labels"].astype(np.int32)) for split in ("train", "t10k")
    ]
    return splits[0], splits[1]


def _parse_idx(place: Found, name: str) -> np.ndarray:
    content = place.files[name]()
    dimensions = 3 if "idx3" in name else 1
    start = 4 + 4 * dimensions
    shape = [int.from_bytes(content[byte : byte + 4]) for byte in range(4, start, 4)]
    if content[:4] != bytes([0, 0, 8, dimensions]) or len(content) - start != math.prod(shape):
        raise FrepoError(f"{place.where}/{name} is damaged: its {len(content):,} bytes are not those of its header")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def _cifar(name: str, origin: list[Path]) -> tuple[Split, Split]:
    """Read the first complete form that is there: parquet, binary, pickled."""
    parquet = [path for path in files_below(origin) if path.suffix == ".parquet"]
    by_split = [[path for path in parquet if path.name.startswith(split)] for split in ("train", "test")]
    if all(by_split):
        label = "label" if name == "cifar10" else "fine_label"
        train, test = (read_parquet(paths, "img", label, (32, 32, 3)) for paths in by_split)
        return train, test
    tests, trains = ("test", "train") if name == "cifar100" else ("test_batch", "data_batch_[1-5]")
    enough = 2 if name == "cifar100" else 6
    found = find(origin, re.compile(rf"({tests}|{trains})(\.bin)?"), enough)
    for suffix, parse in ((".bin", _parse_binary), ("", _parse_pickled)):
        for place in found:
            files = {file: read for file, read in place.files.items() if Path(file).suffix == suffix}
            if len(files) >= enough:
                return _batches(name, Found(place.where, files), tests, parse)
    number = name.removeprefix("cifar")
    forms = (
        f"cifar-{number}-python.tar.gz, cifar-{number}-binary.tar.gz, or train*.parquet and test*.parquet of the Hub"
    )
    raise _needed(origin, f"{name} as {forms}")


def _batches(name: str, place: Found, tests: str, parse: Callable[[str, bytes], Split]) -> tuple[Split, Split]:
    splits: dict[bool, list[Split]] = {True: [], False: []}
    for file, read in sorted(place.files.items()):
        content = read()
        try:
            splits[file.startswith(tests)].append(parse(name, content))
        except Exception as error:  # of many kinds, for bytes that are no such batch
            raise FrepoError(f"{place.where}/{file} is not a batch of {name}: {error}") from None
    train, test = (
        (np.concatenate([images for images, _ in parts]), np.concatenate([labels for _, labels in parts]))
        for parts in (splits[False], splits[True])
    )
    return train, test


def _parse_binary(name: str, content: bytes) -> Split:
    labels = 1 if name == "cifar10" else 2  # coarse and fine
    rows = np.frombuffer(content, np.uint8).reshape(-1, labels + PIXELS)
    return _planes(rows[:, labels:]), rows[:, labels - 1].astype(np.int32)


def _parse_pickled(name: str, content: bytes) -> Split:
    batch = PlainPickle(_known, lambda _: None).load(io.BytesIO(content))
    data, labels = batch["data"], batch["labels" if name == "cifar10" else "fine_labels"]
    if not isinstance(data, NumpyArray) or data.array is None:
        raise TypeError("its data are no array")
    if type(labels) is not list or not all(type(label) is int for label in labels):
        raise TypeError("its labels are no list of numbers")
    return _planes(data.array.load()), np.array(labels, np.int32)


def _known(name: str) -> Any:
    """Return what stands for a name."""
    if name not in NAMES:
        raise ValueError(f"it names {name[:60]!a}, which no array needs")
    return NAMES[name]


def _planes(rows: np.ndarray) -> np.ndarray:
    """Turn rows of three planes, uint8 [n, 3 * 32 * 32], into images."""
    if rows.dtype != np.uint8:
        raise ValueError(f"pixels of {rows.dtype}")
    return np.ascontiguousarray(rows.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))


def _svhn(name: str, origin: list[Path]) -> tuple[Split, Split]:
    found = find(origin, re.compile(r"(train|test)_32x32\.mat"), enough=2)
    if not found:
        raise _needed(origin, f"{name} as train_32x32.mat and test_32x32.mat")
    train, test = (_parse_mat(found[0], f"{split}_32x32.mat") for split in ("train", "test"))
    return train, test


def _parse_mat(place: Found, name: str) -> Split:
    try:
        arrays = read_arrays(place.files[name](), ("X", "y"))
    except ValueError as error:
        raise FrepoError(f"{place.where}/{name} cannot be read ({error})") from None
    images, labels = arrays.get("X", np.empty(0)), arrays.get("y", np.empty(0)).ravel()
    if images.dtype != np.uint8 or images.shape != (32, 32, 3, len(labels)):
        sizes = " x ".join(map(str, images.shape))
        raise FrepoError(
            f"{place.where}/{name} has an X of {sizes} {images.dtype}, not of 32 x 32 x 3 x {len(labels)} uint8"
        )
    if not np.all((labels >= 0) & (labels <= 10)):
        raise FrepoError(f"{place.where}/{name} has labels in y that are not 1 to 10")
    # the digit 0 has the label 10
    return np.ascontiguousarray(np.transpose(images, (3, 0, 1, 2))), labels.astype(np.int32) % 10


def _needed(origin: list[Path], files: str, instead: str = "") -> FrepoError:
    where = ", ".join(map(str, origin))
    return FrepoError(f"{where} holds {files} {instead}" if instead else f"{where} does not hold {files}")

"""From a `[dataset]` table to preprocessed arrays, through the cache."""

import hashlib
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np

from frepo.data.cache import cached
from frepo.data.dataset import Dataset, DatasetInfo, RawSplits
from frepo.data.digits import read_digits
from frepo.data.preprocess import FittedPreprocess, fit_preprocess
from frepo.data.tfds import find_prepared, read_tfds
from frepo.identity import fingerprint
from frepo.progress import note
from frepo.signals import raise_if_stopping
from frepo.spec import Dataset as DatasetTable
from frepo.spec import Standardize, Zca

FORMAT = 1
"""Raised when what the cache holds changes its meaning."""


def load_info(table: DatasetTable, data_dir: Path, cache_dir: Path) -> DatasetInfo:
    """Return the facts of a data set, decoding it first where the cache does not hold it.

    Raises:
        FrepoError: the data is missing, damaged or of another kind than image classification.
    """
    return _load_raw(table.name, data_dir, cache_dir)[1]


@lru_cache(maxsize=1)
def load_dataset(table: DatasetTable, data_dir: Path, cache_dir: Path) -> Dataset:
    """Return a data set with its preprocessing; decoded images and whitened inputs come from the cache where they can.

    Raises:
        FrepoError: as `load_info`.
    """
    raw, info = _load_raw(table.name, data_dir, cache_dir)
    train, test, preprocess = _preprocessed(table.preprocess, raw, info, cache_dir)
    return Dataset(info, train, raw.train_labels, test, raw.test_labels, preprocess)


@lru_cache(maxsize=1)
def _load_raw(name: str, data_dir: Path, cache_dir: Path) -> tuple[RawSplits, DatasetInfo]:
    if name == "digits":
        raw = read_digits()
        return raw, _info(name, raw, _pixel_fingerprint(raw))
    builder = find_prepared(name, data_dir)
    directory = Path(builder.data_path)
    files = sorted((path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in directory.iterdir())
    key = fingerprint([FORMAT, str(directory.resolve()), [list(file) for file in files]])

    def decode() -> tuple[dict[str, np.ndarray], dict[str, object]]:
        note(f"decoding {name} from {directory}")
        raw = read_tfds(builder, raise_if_stopping)
        arrays = {field: getattr(raw, field) for field in ARRAYS}
        return arrays, {"class_names": list(raw.class_names), "fingerprint": _pixel_fingerprint(raw)}

    arrays, facts = cached(cache_dir / "decoded" / key[:16], decode)
    raw = RawSplits(*(arrays[field] for field in ARRAYS), class_names=tuple(facts["class_names"]))
    return raw, _info(name, raw, facts["fingerprint"])


ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")


def _preprocessed(
    settings: Standardize | Zca, raw: RawSplits, info: DatasetInfo, cache_dir: Path
) -> tuple[np.ndarray, np.ndarray, FittedPreprocess]:
    if isinstance(settings, Standardize):
        fitted = fit_preprocess(settings, info.name, raw.train_images)
        return raw.train_images, raw.test_images, fitted
    key = fingerprint([FORMAT, info.fingerprint, info.name, settings.model_dump(mode="json")])

    def whiten() -> tuple[dict[str, np.ndarray], dict[str, object]]:
        note(f"fitting ZCA to {info.num_train} images of {info.name}")
        fitted = fit_preprocess(settings, info.name, raw.train_images)
        parameters = {name: value for name, value in vars(fitted).items() if value is not None}
        train, test = _in_chunks(fitted.apply, raw.train_images), _in_chunks(fitted.apply, raw.test_images)
        return {**parameters, "train": train, "test": test}, {}

    arrays, _ = cached(cache_dir / "preprocessed" / key[:16], whiten)
    train, test = arrays.pop("train"), arrays.pop("test")
    return train, test, FittedPreprocess(**arrays)


def _in_chunks(apply: Callable[[np.ndarray], np.ndarray], pixels: np.ndarray, chunk: int = 5000) -> np.ndarray:
    result = np.empty(pixels.shape, np.float32)
    for start in range(0, len(pixels), chunk):
        raise_if_stopping()
        result[start : start + chunk] = apply(pixels[start : start + chunk])
    return result


def _info(name: str, raw: RawSplits, pixel_fingerprint: str) -> DatasetInfo:
    height, width, channels = raw.train_images.shape[1:]
    counts = np.bincount(raw.train_labels, minlength=len(raw.class_names))
    return DatasetInfo(
        name=name,
        class_names=raw.class_names,
        image_shape=(height, width, channels),
        num_train=len(raw.train_labels),
        num_test=len(raw.test_labels),
        smallest_class=int(counts.min()),
        fingerprint=pixel_fingerprint,
    )


def _pixel_fingerprint(raw: RawSplits) -> str:
    digest = hashlib.sha256(repr(raw.class_names).encode())
    for field in ARRAYS:
        array = np.ascontiguousarray(getattr(raw, field))
        digest.update(f"{field} {array.dtype} {array.shape}".encode())
        digest.update(array.data)
    return digest.hexdigest()

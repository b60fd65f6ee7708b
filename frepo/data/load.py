"""From a `[dataset]` table to a data set, through the cache."""

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from frepo.data.cache import NewEntry, cached
from frepo.data.dataset import Dataset, DatasetInfo, RawSplits
from frepo.data.decode import decode, pixel_fingerprint, share_of_each_class
from frepo.data.digits import read_digits
from frepo.data.folder import folder_source
from frepo.data.prepared import is_own, own_source
from frepo.data.preprocess import FittedPreprocess, chunks, fit_preprocess
from frepo.data.source import Source
from frepo.data.tfds import tfds_source
from frepo.errors import FrepoError
from frepo.identity import fingerprint
from frepo.progress import note
from frepo.spec import Dataset as DatasetTable
from frepo.spec import Standardize, Zca

FORMAT = 2
"""Raised when what the cache holds changes its meaning."""


def load_info(table: DatasetTable, data_dir: Path, cache_dir: Path) -> DatasetInfo:
    """Return the facts of a data set, decoding it first where the cache does not hold it.

    Raises:
        FrepoError: the data is missing, damaged, of another kind than image classification, or does not fit the table.
    """
    info = _load_selected(table, data_dir, cache_dir)[1]  # pyright: ignore[reportArgumentType] (frozen, so hashable)
    _block_must_fit(table.preprocess, info)
    return info


@lru_cache(maxsize=1)
def load_dataset(table: DatasetTable, data_dir: Path, cache_dir: Path) -> Dataset:
    """Return a data set with its preprocessing; decoded images and whitened inputs come from the cache where they can.

    Raises:
        FrepoError: as `load_info`.
    """
    raw, info = _load_selected(table, data_dir, cache_dir)  # pyright: ignore[reportArgumentType]
    _block_must_fit(table.preprocess, info)
    train, test, preprocess = _preprocessed(table.preprocess, raw, info, cache_dir)
    return Dataset(info, train, raw.train_labels, test, raw.test_labels, preprocess)


@lru_cache(maxsize=1)
def _load_selected(table: DatasetTable, data_dir: Path, cache_dir: Path) -> tuple[RawSplits, DatasetInfo]:
    raw, digest = _load_raw(table, data_dir, cache_dir)
    if table.classes is None and table.train_fraction is None:
        return raw, _info(table.name, raw, digest)
    beyond = next((label for label in table.classes or () if label >= len(raw.class_names)), None)
    if beyond is not None:
        last = len(raw.class_names) - 1
        raise FrepoError(f"dataset.classes names {beyond}, but the classes of {table.name} are 0 to {last}")
    key = fingerprint([FORMAT, digest, table.classes and list(table.classes), table.train_fraction])

    def select(entry: NewEntry) -> dict[str, Any]:
        _write_selection(raw, table, entry)
        return {}

    arrays, _ = cached(cache_dir / "selected" / key[:16], select)
    classes = table.classes or range(len(raw.class_names))
    selected = RawSplits(**arrays, class_names=tuple(raw.class_names[label] for label in classes))
    return selected, _info(table.name, selected, key)


def _load_raw(table: DatasetTable, data_dir: Path, cache_dir: Path) -> tuple[RawSplits, str]:
    if table.name == "digits":
        if table.resolution is not None:
            raise FrepoError("dataset.resolution: the digits are 8x8 pixels; leave it out")
        raw = read_digits()
        return raw, pixel_fingerprint(raw)
    source = _source(table, data_dir)
    key = fingerprint([FORMAT, table.name, source.key, table.resolution, table.test_fraction])

    def fill(entry: NewEntry) -> dict[str, Any]:
        note(f"decoding {table.name} from {source.where}")
        digest = decode(source, table.resolution, table.test_fraction, entry)
        return {"class_names": list(source.class_names), "fingerprint": digest}

    arrays, facts = cached(cache_dir / "decoded" / key[:16], fill)
    return RawSplits(**arrays, class_names=tuple(facts["class_names"])), facts["fingerprint"]


def _source(table: DatasetTable, data_dir: Path) -> Source:
    if table.name == "image_folder":
        assert table.path is not None
        return folder_source(Path(table.path).expanduser())
    return own_source(table.name, data_dir) if is_own(table.name) else tfds_source(table.name, data_dir)


def _write_selection(raw: RawSplits, table: DatasetTable, entry: NewEntry) -> None:
    for split in ("train", "test"):
        images, labels = getattr(raw, f"{split}_images"), np.asarray(getattr(raw, f"{split}_labels"))
        renumbered = labels
        if table.classes is not None:
            renumbered = np.full(len(raw.class_names), -1, np.int32)
            renumbered[list(table.classes)] = np.arange(len(table.classes), dtype=np.int32)
            renumbered = renumbered[labels]
        chosen = np.flatnonzero(renumbered >= 0)
        if split == "train" and table.train_fraction is not None:
            chosen = chosen[share_of_each_class(renumbered[chosen], table.train_fraction)]
        entry.store(f"{split}_labels", renumbered[chosen].astype(np.int32))
        with entry.writing(f"{split}_images", (len(chosen), *images.shape[1:]), np.uint8) as writer:
            for part in chunks(images, len(chosen)):
                writer.append(images[chosen[part]])


def _preprocessed(
    settings: Standardize | Zca, raw: RawSplits, info: DatasetInfo, cache_dir: Path
) -> tuple[np.ndarray, np.ndarray, FittedPreprocess]:
    key = fingerprint([FORMAT, info.fingerprint, info.name, settings.model_dump(mode="json")])

    def fit(entry: NewEntry) -> dict[str, Any]:
        if isinstance(settings, Zca):
            note(f"fitting ZCA to {info.num_train} images of {info.name}")
        fitted = fit_preprocess(settings, info.name, raw.train_images)
        for name, value in vars(fitted).items():
            if isinstance(value, np.ndarray):
                entry.store(name, value)
        if isinstance(settings, Zca):
            for name in ("train", "test"):
                pixels = getattr(raw, f"{name}_images")
                with entry.writing(name, pixels.shape, np.float32) as writer:
                    for part in chunks(pixels):
                        writer.append(fitted.apply(pixels[part]))
        return {}

    arrays, _ = cached(cache_dir / "preprocessed" / key[:16], fit)
    train, test = arrays.pop("train", raw.train_images), arrays.pop("test", raw.test_images)
    block = settings.block if isinstance(settings, Zca) else None
    return train, test, FittedPreprocess(**arrays, block=block)


def _block_must_fit(settings: Standardize | Zca, info: DatasetInfo) -> None:
    height, width, _ = info.image_shape
    block = settings.block if isinstance(settings, Zca) else None
    if block is not None and (height % block or width % block):
        raise FrepoError(f"dataset.preprocess.block = {block} does not divide the images of {height}x{width} pixels")


def _info(name: str, raw: RawSplits, digest: str) -> DatasetInfo:
    height, width, channels = raw.train_images.shape[1:]
    counts = np.bincount(raw.train_labels, minlength=len(raw.class_names))
    return DatasetInfo(
        name=name,
        class_names=raw.class_names,
        image_shape=(height, width, channels),
        num_train=len(raw.train_labels),
        num_test=len(raw.test_labels),
        smallest_class=int(counts.min()),
        fingerprint=digest,
    )

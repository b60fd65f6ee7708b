"""From a `[dataset]` table to a data set, through the cache."""

from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from frepo.data.cache import NewEntry, cached
from frepo.data.dataset import Dataset, DatasetInfo, RawSplits
from frepo.data.decode import decode, pixel_fingerprint, share_of_each_class
from frepo.data.preprocess import FittedPreprocess, chunks, fit_preprocess
from frepo.data.sources.arrays import arrays_source
from frepo.data.sources.digits import read_digits
from frepo.data.sources.folder import folder_source
from frepo.data.sources.hub import hub_source
from frepo.data.sources.known import comes_from
from frepo.data.sources.places import versions
from frepo.data.sources.prepared import own_source
from frepo.data.sources.source import Source
from frepo.data.sources.tfds import tfds_source
from frepo.errors import FrepoError
from frepo.plan.identity import fingerprint
from frepo.progress import note
from frepo.spec import Dataset as DatasetTable
from frepo.spec import Standardize, Zca

FORMAT = 3
"""Raised when cached content changes its meaning; part of the cache's key only, not of any result's identity."""
SELECTION = 2
"""Raised when the same table selects other images of the same data set."""
CHUNK_ORDER = 20220601
"""Seed of the order that chunks are cut from, the same for every experiment."""


@lru_cache(maxsize=1000)
def load_info(table: DatasetTable, data_dir: Path, cache_dir: Path) -> DatasetInfo:
    """Return the facts of a data set, decoding it first if it is not cached.

    Raises:
        FrepoError: the data is missing, damaged, not for image classification, or does not fit the table.
    """
    info = _load_selected(table, data_dir, cache_dir)[1]  # pyright: ignore[reportArgumentType] (frozen, so hashable)
    _block_must_fit(table.preprocess, info)
    return info


@lru_cache(maxsize=1)
def load_dataset(table: DatasetTable, data_dir: Path, cache_dir: Path) -> Dataset:
    """Return a data set with its preprocessing; decoded images and whitened inputs come from the cache if possible.

    Raises:
        FrepoError: as `load_info`.
    """
    raw, info = _load_selected(table, data_dir, cache_dir)  # pyright: ignore[reportArgumentType]
    _block_must_fit(table.preprocess, info)
    if table.preprocess.fitted_to is None:
        train, test, preprocess = _preprocessed(table.preprocess, raw, info, cache_dir)
    else:
        preprocess = _fitted_to_classes(table, data_dir, cache_dir)
        train, test = (_stored(preprocess, images) for images in (raw.train_images, raw.test_images))
    return Dataset(info, train, raw.train_labels, test, raw.test_labels, preprocess)


def forget() -> None:
    """Forget data sets read so far: in a long-lived process their files may change."""
    for cache in (load_info, load_dataset, _load_selected, _load_raw):
        cache.cache_clear()


def load_test_set(table: DatasetTable, data_dir: Path, cache_dir: Path) -> Dataset:
    """Return a data set without training images, for networks trained on other data and only tested on this one.

    The `fitted_to` of the table determines its preprocessing.

    Raises:
        FrepoError: as `load_info`.
    """
    assert table.preprocess.fitted_to is not None
    raw, info = _load_selected(table, data_dir, cache_dir)  # pyright: ignore[reportArgumentType]
    _block_must_fit(table.preprocess, info)
    preprocess = _fitted_to_classes(table, data_dir, cache_dir)
    train, test = (_stored(preprocess, images) for images in (raw.train_images[:0], raw.test_images))
    return Dataset(info, train, raw.train_labels[:0], test, raw.test_labels, preprocess)


def load_outside(table: DatasetTable, data_dir: Path, cache_dir: Path) -> Dataset:
    """Return a data set whose training images are those outside the chunk of `table`.

    They are preprocessed like those of the chunk; all else is as in `load_dataset`.

    Raises:
        FrepoError: as `load_info`.
    """
    dataset = load_dataset(table, data_dir, cache_dir)  # pyright: ignore[reportArgumentType]
    whole, _ = _load_selected(_without_chunk(table), data_dir, cache_dir)  # pyright: ignore[reportArgumentType]
    assert table.chunk_size is not None
    assert table.chunk_index is not None
    outside = np.setdiff1d(np.arange(len(whole.train_labels)), _chunk(table, len(whole.train_labels)))
    images = _stored(dataset.preprocess, whole.train_images[outside])
    return replace(dataset, train_images=images, train_labels=np.asarray(whole.train_labels)[outside])


def _without_chunk(table: DatasetTable) -> DatasetTable:
    """Return the table of the whole training set that a chunk is cut from."""
    return table.model_copy(update={"chunk_size": None, "chunk_index": None})


@lru_cache(maxsize=1)
def _load_selected(table: DatasetTable, data_dir: Path, cache_dir: Path) -> tuple[RawSplits, DatasetInfo]:
    raw, digest = _load_raw(table.as_stored(), data_dir, cache_dir)  # pyright: ignore[reportArgumentType]
    if table.classes is None and table.train_fraction is None and table.chunk_size is None:
        return raw, _info(table, raw, digest)
    _classes_must_exist("dataset.classes", table.classes, table, raw)
    choice = [table.classes and list(table.classes), table.train_fraction, *_chunk_of(table)]
    selection = fingerprint([SELECTION, digest, *choice])

    def select(entry: NewEntry) -> dict[str, Any]:
        _write_selection(raw, table, entry)
        return {}

    arrays, _ = cached(cache_dir / "selected" / fingerprint([FORMAT, selection])[:16], select)
    classes = table.classes or range(len(raw.class_names))
    class_names = tuple(raw.class_names[label] for label in classes)
    selected = RawSplits(**arrays, class_names=class_names)
    if len(selected.test_labels) == 0:
        raise FrepoError(f"dataset.classes: {table.name} has no test images of {', '.join(class_names)}")
    return selected, _info(table, selected, selection)


def _chunk_of(table: DatasetTable) -> list[int | None]:
    return [] if table.chunk_size is None else [table.chunk_size, table.chunk_index]


def _classes_must_exist(field: str, classes: tuple[int, ...] | None, table: DatasetTable, raw: RawSplits) -> None:
    beyond = next((label for label in classes or () if label >= len(raw.class_names)), None)
    if beyond is not None:
        last = len(raw.class_names) - 1
        raise FrepoError(f"{field} names {beyond}, but the classes of {table.name} are 0 to {last}")


def _chunk(table: DatasetTable, count: int) -> np.ndarray:
    """Return sorted positions of the chunk's images among `count`; the shuffled order depends on `count` alone."""
    assert table.chunk_size is not None
    assert table.chunk_index is not None
    first = table.chunk_index * table.chunk_size
    if first + table.chunk_size > count:
        raise FrepoError(
            f"dataset.chunk_size = {table.chunk_size} with chunk_index = {table.chunk_index} reaches past the {count} "
            f"training images of {table.name}; at most {count // table.chunk_size} such chunks fit"
        )
    order = np.random.default_rng([CHUNK_ORDER, count]).permutation(count)
    return np.sort(order[first : first + table.chunk_size])


def _fitted_to_classes(table: DatasetTable, data_dir: Path, cache_dir: Path) -> FittedPreprocess:
    """Return the preprocessing of a table, fitted to the training images of the classes in `fitted_to`."""
    classes = table.preprocess.fitted_to
    raw, digest = _load_raw(table.as_stored(), data_dir, cache_dir)  # pyright: ignore[reportArgumentType]
    _classes_must_exist("dataset.preprocess.fitted_to", classes, table, raw)
    labels = np.asarray(raw.train_labels)
    chosen = np.flatnonzero(np.isin(labels, list(classes or ())))
    if table.train_fraction is not None:
        chosen = chosen[share_of_each_class(labels[chosen], table.train_fraction)]
    settings = table.preprocess
    key = fingerprint([FORMAT, digest, table.name, settings.model_dump(mode="json"), table.train_fraction])

    def fit(entry: NewEntry) -> dict[str, Any]:
        _fit(settings, table.name, raw.train_images[chosen], entry)
        return {}

    arrays, _ = cached(cache_dir / "preprocessed" / key[:16], fit)
    return FittedPreprocess(**arrays, block=settings.block if isinstance(settings, Zca) else None)


def _fit(settings: Standardize | Zca, name: str, pixels: np.ndarray, entry: NewEntry) -> FittedPreprocess:
    """Fit, and write the fitted arrays into a cache entry."""
    if isinstance(settings, Zca):
        note(f"fitting ZCA to {len(pixels)} images of {name}")
    fitted = fit_preprocess(settings, name, pixels)
    for field, value in vars(fitted).items():
        if isinstance(value, np.ndarray):
            entry.store(field, value)
    return fitted


def _stored(preprocess: FittedPreprocess, pixels: np.ndarray) -> np.ndarray:
    """Return images in the stored form of a `Dataset`: pixels that are only standardised stay uint8."""
    if preprocess.whiten is None:
        return pixels
    inputs = np.empty(pixels.shape, np.float32)
    for part in chunks(pixels):
        inputs[part] = preprocess.apply(pixels[part])
    return inputs


@lru_cache(maxsize=1)
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
    if table.name == "parquet":
        from frepo.data.sources.parquet import local_source  # not before: DuckDB takes a while

        return local_source(table)
    if comes_from(table.name) == "Hub":
        return hub_source(table, data_dir)
    if comes_from(table.name) == "archive":
        return own_source(table.name, data_dir)
    if comes_from(table.name) == "publisher" and not versions(
        data_dir / table.name
    ):  # what TFDS has prepared comes first
        return arrays_source(table.name, data_dir)
    return tfds_source(table.name, data_dir)


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
        if split == "train" and table.chunk_size is not None:
            chosen = chosen[_chunk(table, len(chosen))]
        entry.store(f"{split}_labels", renumbered[chosen].astype(np.int32))
        with entry.writing(f"{split}_images", (len(chosen), *images.shape[1:]), np.uint8) as writer:
            for part in chunks(images, len(chosen)):
                writer.append(images[chosen[part]])


def _preprocessed(
    settings: Standardize | Zca, raw: RawSplits, info: DatasetInfo, cache_dir: Path
) -> tuple[np.ndarray, np.ndarray, FittedPreprocess]:
    key = fingerprint([FORMAT, info.fingerprint, info.name, settings.model_dump(mode="json")])

    def fit(entry: NewEntry) -> dict[str, Any]:
        fitted = _fit(settings, info.name, raw.train_images, entry)
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
        raise FrepoError(f"dataset.preprocess.block = {block} does not divide images of {height}x{width} pixels")


def _info(table: DatasetTable, raw: RawSplits, digest: str) -> DatasetInfo:
    height, width, channels = raw.train_images.shape[1:]
    counts = np.bincount(raw.train_labels, minlength=len(raw.class_names))
    return DatasetInfo(
        name=table.name,
        class_names=raw.class_names,
        image_shape=(height, width, channels),
        num_train=len(raw.train_labels),
        num_test=len(raw.test_labels),
        smallest_class=int(counts.min()),
        fingerprint=digest,
        label_classes=table.label_classes or len(raw.class_names),
    )

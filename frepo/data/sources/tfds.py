"""Prepared data sets of tensorflow-datasets, read without TensorFlow."""

import io
import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from frepo.data.pixels import GRAY_MODES, eight_bits, opened
from frepo.data.sources.description import must_be_of_tfds
from frepo.data.sources.places import VERSION, must_be_readable, not_there, versions
from frepo.data.sources.source import AT_ONCE, MOST_CLASSES, Examples, Source
from frepo.data.sources.tfrecord import Records, find_records
from frepo.errors import FrepoError
from frepo.progress import note
from frepo.signals import raise_if_stopping

TEST_SPLITS = ("test", "validation")
FORMATS = ("array_record", "tfrecord")


def find_prepared(name: str, data_dir: Path) -> Any:
    """Return the TFDS builder of the prepared data set `name` (`name/config:version` where given).

    Raises:
        FrepoError: it is not prepared, or its format cannot be read without TensorFlow; the message says how to
            prepare it.
    """
    import tensorflow_datasets as tfds
    from absl import logging

    logging.set_verbosity(logging.ERROR)  # it warns that Pillow decodes slower than OpenCV
    family, version = name.partition(":")[::2]
    must_be_readable(data_dir, _how_to(name))
    there = [path for path in versions(data_dir / family) if version in ("", path.name)]
    if not there:
        raise FrepoError(f"{not_there(name, data_dir)}\n{_how_to(name)}")
    newest = there[-1]
    try:
        must_be_of_tfds(newest)
        builder = tfds.builder_from_directory(newest)
    except Exception as error:  # a dozen kinds, from JSON errors to missing keys
        raise _damaged(name, newest, error) from error
    stored_as = builder.info.file_format
    if stored_as is None or stored_as.value not in FORMATS:
        raise FrepoError(
            f"data set '{name}' in {newest} is stored as {stored_as.value if stored_as else 'an unknown format'}, "
            f"which cannot be read without TensorFlow.\n{_how_to(name)}"
        )
    return builder


@dataclass(frozen=True)
class _Prepared:
    """A prepared data set: the name that was asked for (its own may say anything), and its TFDS builder."""

    name: str
    builder: Any


def tfds_source(name: str, data_dir: Path) -> Source:
    """Return the prepared data set `name`.

    Raises:
        FrepoError: as `find_prepared`; or it is not an image-classification data set with a training split and a test
            split. Of several test splits, the first with published labels is used.
    """
    data = _Prepared(name, find_prepared(name, data_dir))
    builder, directory = data.builder, Path(data.builder.data_path)
    files = sorted((path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in directory.iterdir())
    image_key, label_key = _keys(data)
    test_splits = [split for split in TEST_SPLITS if split in builder.info.splits]
    if "train" not in builder.info.splits or not test_splits:
        found = ", ".join(builder.info.splits) or "none"
        raise FrepoError(f"data set '{name}' needs the splits train and test (or validation); it has {found}")

    def both() -> tuple[Examples, Examples]:
        return _examples(data, "train", image_key, label_key), _labelled(data, test_splits, image_key, label_key)

    class_names = tuple(builder.info.features[label_key].names)
    return Source(name, class_names, [str(directory.resolve()), [list(file) for file in files]], str(directory), both)


def _keys(data: _Prepared) -> tuple[str, str]:
    import tensorflow_datasets as tfds

    features = data.builder.info.features
    images = [key for key, feature in features.items() if isinstance(feature, tfds.features.Image)]
    labels = [key for key, feature in features.items() if isinstance(feature, tfds.features.ClassLabel)]
    image = "image" if "image" in images else (images or [None])[0]
    label = "label" if "label" in labels else (labels or [None])[0]
    if image is None or label is None:
        raise FrepoError(f"data set '{data.name}' is not for image classification: its features are {features}")
    kind = np.dtype(features[image].np_dtype)
    if kind not in (np.uint8, np.uint16):
        raise FrepoError(f"data set '{data.name}' has images of {kind}; frepo reads 8-bit and 16-bit ones")
    if not 0 < (features[label].num_classes or 0) <= MOST_CLASSES:
        raise FrepoError(f"data set '{data.name}' does not give a number of classes of its '{label}'")
    return image, label


def _labelled(data: _Prepared, splits: Sequence[str], image_key: str, label_key: str) -> Examples:
    """Return the first of `splits` with published labels, else the first, whose problem `decode` reports.

    Labels of test images that are withheld for a contest are -1.
    """
    found: list[Examples] = []
    for split in splits:
        examples = _examples(data, split, image_key, label_key)
        labels = _labels(data, split, label_key, examples)
        found.append(replace(examples, labels=labels))
        if np.any(labels >= 0):
            if split != splits[0]:
                note(f"{data.name}: testing on {split}, because {splits[0]} has no labels")
            return found[-1]
    return found[0]


def _labels(data: _Prepared, split: str, label_key: str, examples: Examples) -> np.ndarray:
    """Return the labels of a split, int64 [n], without decoding an image."""
    import tensorflow_datasets as tfds

    features = tfds.features.FeaturesDict({label_key: data.builder.info.features[label_key]})
    labels: list[int] = []
    for start in range(0, examples.count, AT_ONCE):
        raise_if_stopping()
        stored = examples.fetch(list(range(start, min(start + AT_ONCE, examples.count))))
        try:
            parsed: list[Any] = [features.deserialize_example_np(example) for example in stored]
            labels += [int(example[label_key]) for example in parsed]
        except Exception as error:  # protobuf raises several kinds
            raise _damaged(data.name, f"{data.builder.data_path}, split {split},", error) from error
    return np.array(labels, np.int64)


def _examples(data: _Prepared, split: str, image_key: str, label_key: str) -> Examples:
    import tensorflow_datasets as tfds

    records = _records(data, split)
    features = tfds.features.FeaturesDict({key: data.builder.info.features[key] for key in (image_key, label_key)})
    as_stored = {image_key: tfds.decode.SkipDecoding()}
    channels = data.builder.info.features[image_key].shape[-1]

    def damaged(indices: list[int], error: Exception) -> FrepoError:
        which = f"example {indices[0]}" if len(indices) == 1 else f"examples {indices[0]} to {indices[-1]}"
        return _damaged(data.name, f"{data.builder.data_path}, {which} of {split},", error)

    def fetch(indices: list[int]) -> Sequence[bytes]:
        try:
            return records.__getitems__(indices)  # a hundred times faster than one by one
        except FrepoError:
            raise
        except Exception as error:  # array_record raises several kinds for damaged files
            raise damaged(indices, error) from error

    def decode(stored: bytes, index: int) -> tuple[np.ndarray, int]:
        try:
            example: Any = features.deserialize_example_np(stored, decoders=as_stored)
            # Not by TFDS: it uses OpenCV if installed, whose JPEGs differ, and reduces 16 bits modulo 256.
            with opened(io.BytesIO(example[image_key])) as image:
                return eight_bits(image, channels or (1 if image.mode in GRAY_MODES else 3)), int(example[label_key])
        except Exception as error:  # protobuf and Pillow raise a dozen kinds
            raise damaged([index], error) from error

    return Examples(len(records), fetch, decode, lambda index: f"example {index} of {split} of {data.name}")


def _records(data: _Prepared, split: str) -> Any:
    """Return the records of a split, from files with as many records as TFDS has written.

    Raises:
        FrepoError: a file is missing, damaged, or has another number of records.
    """
    import tensorflow_datasets as tfds

    info = data.builder.info.splits[split]
    are_tfrecords = data.builder.info.file_format.value == "tfrecord"
    try:
        paths = [Path(path) for path in info.filepaths]
        if any(path.parent != Path(data.builder.data_path) or not path.is_file() for path in paths):
            raise ValueError(f"files of {split} are missing, or elsewhere")
        places = [find_records(path) for path in paths] if are_tfrecords else []
        counts = [len(part) for part in places] if are_tfrecords else [_array_records(path) for path in paths]
        _files_must_be_whole(data.name, paths, counts, info.shard_lengths)
        if are_tfrecords or not sum(counts):
            return Records(tuple(itertools.chain(*places)))
        return data.builder.as_data_source(split=split, deserialize_method=tfds.decode.DeserializeMethod.RAW_BYTES)
    except FrepoError:
        raise
    except Exception as error:  # files that are missing or of another format
        raise _damaged(data.name, data.builder.data_path, error) from error


def _array_records(path: Path) -> int:
    from array_record.python.array_record_module import ArrayRecordReader  # pyright: ignore

    reader: Any = ArrayRecordReader(str(path))
    try:
        return reader.num_records()
    finally:
        reader.close()


def _files_must_be_whole(name: str, paths: list[Path], counts: list[int], written: Sequence[int]) -> None:
    for path, found, expected in zip(paths, counts, written, strict=True):
        if found != expected:
            raise FrepoError(
                f"data set '{name}': {path} holds {found:,} examples, not the {expected:,} of "
                "dataset_info.json; prepare it again"
            )


def _damaged(name: str, where: object, error: Exception) -> FrepoError:
    reason = " ".join(str(error).split())[:200]
    return FrepoError(
        f"data set '{name}' in {where} cannot be read ({type(error).__name__}: {reason}); prepare it again"
    )


def _how_to(name: str) -> str:
    plain = re.sub(f"[:/]{VERSION.pattern}$", "", name)
    return (
        "To download and prepare it, once: pip install 'frepo[tf]', then\n"
        f"  frepo data prepare {plain}          # --data-dir DIR for another place than TFDS's own"
    )


def prepare_tfds(name: str, data_dir: Path) -> Path:
    """Download the data set `name` and prepare it; return its directory. TFDS publishes it only when it is complete.

    Raises:
        FrepoError: TensorFlow is not installed, TFDS does not know the data set, or the download failed.
    """
    import importlib.util

    import tensorflow_datasets as tfds

    if importlib.util.find_spec("tensorflow") is None:
        raise FrepoError(f"preparing '{name}' needs TensorFlow, once: pip install 'frepo[tf]' and try again")
    try:
        builder = tfds.builder(name, data_dir=data_dir, file_format="array_record")
        builder.download_and_prepare()
    except Exception as error:  # unknown names, no network, checksums, full disks: a dozen kinds
        reason = " ".join(str(error).split())[:300]
        raise FrepoError(f"'{name}' could not be prepared ({type(error).__name__}: {reason})") from error
    return Path(builder.data_path)

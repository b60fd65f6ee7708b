"""Prepared data sets of tensorflow-datasets, read without TensorFlow."""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from frepo.data.places import VERSION, not_there, versions
from frepo.data.source import Examples, Source
from frepo.data.tfrecord import find_records
from frepo.errors import FrepoError

TEST_SPLITS = ("test", "validation")
FORMATS = ("array_record", "tfrecord")


def find_prepared(name: str, data_dir: Path) -> Any:
    """Return the TFDS builder of the prepared data set `name` (`name/config:version` where given).

    Raises:
        FrepoError: it is not there, or prepared in a format that cannot be read without TensorFlow; the message says
            how to prepare it.
    """
    import tensorflow_datasets as tfds
    from absl import logging

    logging.set_verbosity(logging.ERROR)  # it warns that Pillow decodes slower than OpenCV
    family, version = name.partition(":")[::2]
    if not (data_dir.is_dir() and os.access(data_dir, os.R_OK | os.X_OK)):
        reason = "is not a directory that can be read" if data_dir.exists() else "does not exist"
        raise FrepoError(f"the data directory {data_dir} {reason}; name another with --data-dir.\n{_how_to(name)}")
    there = [path for path in versions(data_dir / family) if version in ("", path.name)]
    if not there:
        raise FrepoError(f"{not_there(name, data_dir)}\n{_how_to(name)}")
    newest = there[-1]
    try:
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


def tfds_source(name: str, data_dir: Path) -> Source:
    """Return the prepared data set `name`.

    Raises:
        FrepoError: as `find_prepared`; or it is no image-classification data set with a split for training and one for
            testing.
    """
    builder = find_prepared(name, data_dir)
    directory = Path(builder.data_path)
    files = sorted((path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in directory.iterdir())
    image_key, label_key = _keys(builder)
    test_split = next((split for split in TEST_SPLITS if split in builder.info.splits), None)
    if "train" not in builder.info.splits or test_split is None:
        found = ", ".join(builder.info.splits) or "none"
        raise FrepoError(
            f"data set '{builder.info.name}' needs the splits train and test (or validation); it has {found}"
        )

    def both() -> tuple[Examples, Examples]:
        return tuple(_examples(builder, split, image_key, label_key) for split in ("train", test_split))  # pyright: ignore[reportReturnType]

    class_names = tuple(builder.info.features[label_key].names)
    return Source(name, class_names, [str(directory.resolve()), [list(file) for file in files]], str(directory), both)


def _keys(builder: Any) -> tuple[str, str]:
    import tensorflow_datasets as tfds

    features = builder.info.features
    images = [key for key, feature in features.items() if isinstance(feature, tfds.features.Image)]
    labels = [key for key, feature in features.items() if isinstance(feature, tfds.features.ClassLabel)]
    image = "image" if "image" in images else (images or [None])[0]
    label = "label" if "label" in labels else (labels or [None])[0]
    if image is None or label is None:
        raise FrepoError(f"data set '{builder.info.name}' is not for image classification: its features are {features}")
    return image, label


def _examples(builder: Any, split: str, image_key: str, label_key: str) -> Examples:
    import tensorflow_datasets as tfds

    records = _records(builder, split)
    if len(records) == 0:
        raise FrepoError(f"data set '{builder.info.name}': split {split} in {builder.data_path} is empty")
    features = tfds.features.FeaturesDict({key: builder.info.features[key] for key in (image_key, label_key)})

    def damaged(indices: list[int], error: Exception) -> FrepoError:
        which = f"example {indices[0]}" if len(indices) == 1 else f"examples {indices[0]} to {indices[-1]}"
        return _damaged(builder.info.name, f"{builder.data_path}, {which} of {split},", error)

    def fetch(indices: list[int]) -> Sequence[bytes]:
        try:
            return records.__getitems__(indices)  # a hundred times as fast as one by one
        except Exception as error:  # array_record raises several kinds for damaged files
            raise damaged(indices, error) from error

    def decode(stored: bytes, index: int) -> tuple[np.ndarray, int]:
        try:
            example: Any = features.deserialize_example_np(stored)
            return example[image_key], int(example[label_key])
        except Exception as error:  # protobuf and Pillow raise a dozen kinds
            raise damaged([index], error) from error

    return Examples(len(records), fetch, decode, lambda index: f"example {index} of {split} of {builder.info.name}")


def _records(builder: Any, split: str) -> Any:
    import tensorflow_datasets as tfds

    if builder.info.file_format.value == "tfrecord":
        return find_records([Path(path) for path in builder.info.splits[split].filepaths])
    try:
        return builder.as_data_source(split=split, deserialize_method=tfds.decode.DeserializeMethod.RAW_BYTES)
    except Exception as error:  # files that are missing or none of array_record's
        raise _damaged(builder.info.name, builder.data_path, error) from error


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


def names_of_tfds() -> list[str]:
    """Return the names of the data sets that TFDS can download."""
    import tensorflow_datasets as tfds

    return tfds.list_builders(with_community_datasets=False)  # those others are asked for over the network


def prepare_tfds(name: str, data_dir: Path) -> Path:
    """Download the data set `name` and prepare it; return where it is. TFDS lets a whole one appear only.

    Raises:
        FrepoError: TensorFlow is not installed, TFDS knows no such data set, or the download failed.
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

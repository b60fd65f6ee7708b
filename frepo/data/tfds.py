"""Prepared data sets of tensorflow-datasets, read without TensorFlow."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from frepo.data.dataset import RawSplits
from frepo.errors import FrepoError

TEST_SPLITS = ("test", "validation")
READ_AT_ONCE = 1000


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
    directory = data_dir / family
    if not (data_dir.is_dir() and os.access(data_dir, os.R_OK | os.X_OK)):
        reason = "is not a directory that can be read" if data_dir.exists() else "does not exist"
        raise FrepoError(f"the data directory {data_dir} {reason}; name another with --data-dir.\n{_how_to(name)}")
    versions = sorted(path for path in directory.glob(version or "*.*.*") if (path / "dataset_info.json").is_file())
    if not versions:
        raise FrepoError(f"data set '{name}' is not prepared in {data_dir}.\n{_how_to(name)}")
    newest = max(versions, key=lambda path: [int(part) for part in path.name.split(".") if part.isdigit()])
    try:
        builder = tfds.builder_from_directory(newest)
    except Exception as error:  # a dozen kinds, from JSON errors to missing keys
        raise _damaged(name, newest, error) from error
    stored_as = builder.info.file_format
    if stored_as is None or stored_as.value != "array_record":
        raise FrepoError(
            f"data set '{name}' in {newest} is stored as {stored_as.value if stored_as else 'an unknown format'}, "
            f"which cannot be read without TensorFlow.\n{_how_to(name)}"
        )
    return builder


def read_tfds(builder: Any, checkpoint: Callable[[], None]) -> RawSplits:
    """Decode all images of a prepared data set; `checkpoint` is called now and then and may raise to stop.

    Raises:
        FrepoError: it is no image-classification data set with a split for training and one for testing, its images
            differ in size, or a file is damaged.
    """
    image_key, label_key = _keys(builder)
    test_split = next((split for split in TEST_SPLITS if split in builder.info.splits), None)
    if "train" not in builder.info.splits or test_split is None:
        found = ", ".join(builder.info.splits) or "none"
        raise FrepoError(
            f"data set '{builder.info.name}' needs the splits train and test (or validation); it has {found}"
        )
    train = _read_split(builder, "train", image_key, label_key, checkpoint)
    test = _read_split(builder, test_split, image_key, label_key, checkpoint)
    return RawSplits(*train, *test, tuple(builder.info.features[label_key].names))


def _keys(builder: Any) -> tuple[str, str]:
    import tensorflow_datasets as tfds

    features = builder.info.features
    images = [key for key, feature in features.items() if isinstance(feature, tfds.features.Image)]
    labels = [key for key, feature in features.items() if isinstance(feature, tfds.features.ClassLabel)]
    label = "label" if "label" in labels else (labels or [None])[0]
    if len(images) != 1 or label is None:
        raise FrepoError(f"data set '{builder.info.name}' is not for image classification: its features are {features}")
    return images[0], label


def _read_split(
    builder: Any, split: str, image_key: str, label_key: str, checkpoint: Callable[[], None]
) -> tuple[np.ndarray, np.ndarray]:
    try:
        source = builder.as_data_source(split=split)
    except Exception as error:  # files that are missing or none of array_record's
        raise _damaged(builder.info.name, builder.data_path, error) from error
    images: np.ndarray | None = None
    labels = np.empty(len(source), np.int32)
    for start in range(0, len(source), READ_AT_ONCE):
        checkpoint()
        for index in range(start, min(start + READ_AT_ONCE, len(source))):
            example = _read_example(source, index, builder, split)
            image = example[image_key]
            if images is None:
                images = np.empty((len(source), *image.shape), np.uint8)
            if image.shape != images.shape[1:]:
                raise FrepoError(
                    f"data set '{builder.info.name}' has images of different sizes: {images.shape[1:]} and "
                    f"{image.shape} (example {index} of {split})"
                )
            images[index], labels[index] = image, example[label_key]
    if images is None:
        raise FrepoError(f"data set '{builder.info.name}': split {split} in {builder.data_path} is empty")
    return images, labels


def _read_example(source: Any, index: int, builder: Any, split: str) -> dict[str, Any]:
    try:
        return source[index]
    except Exception as error:  # array_record and Pillow raise a dozen kinds for damaged files
        raise _damaged(builder.info.name, f"{builder.data_path}, example {index} of {split},", error) from error


def _damaged(name: str, where: object, error: Exception) -> FrepoError:
    reason = " ".join(str(error).split())[:200]
    return FrepoError(
        f"data set '{name}' in {where} cannot be read ({type(error).__name__}: {reason}); prepare it again"
    )


def _how_to(name: str) -> str:
    family = name.partition(":")[0]
    return (
        "To download and prepare it, once: pip install 'frepo[tf]', then\n"
        f"  python -c \"import tensorflow_datasets as tfds; tfds.builder('{family}', data_dir='DIR', "
        "file_format='array_record').download_and_prepare()\""
    )

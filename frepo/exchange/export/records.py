"""Distilled data as a data set of tensorflow-datasets, written without TensorFlow."""

import contextlib
import io
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from frepo.exchange.export.exported import Exported
from frepo.exchange.export.names import distinct

NAME, VERSION, SPLIT = "frepo_distilled", "1.0.0", "train"


def write_tfds(exported: Exported, directory: Path) -> None:
    """Write a data set that `tfds.builder_from_directory(directory).as_data_source("train")` reads.

    Record i holds `image` (network input) and `pixels`, float32 [h, w, c], `label`, its hard label, and `soft_label`,
    float32 [C]; bit for bit. Class names that TFDS cannot store, empty or doubled or with line breaks, are changed.
    """
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core.dataset_builders.adhoc_builder import AdhocBuilder

    class Builder(AdhocBuilder, skip_registration=True):
        def _split_generators(self, dl_manager: Any) -> Any:  # noqa: ARG002
            return {SPLIT: _examples(exported)}  # the one of AdhocBuilder asks for TensorFlow

    shape = exported.images.shape[1:]
    features = tfds.features.FeaturesDict(
        {
            "image": tfds.features.Tensor(shape=shape, dtype=np.float32),
            "pixels": tfds.features.Tensor(shape=shape, dtype=np.float32),
            "label": tfds.features.ClassLabel(names=label_names(exported.class_names)),
            "soft_label": tfds.features.Tensor(shape=exported.soft_labels.shape[1:], dtype=np.float32),
        }
    )
    with tempfile.TemporaryDirectory(dir=directory.parent) as scratch, _quiet():
        builder = Builder(
            name=NAME,
            version=VERSION,
            features=features,
            split_datasets={SPLIT: ()},
            data_dir=scratch,
            description=f"Distilled images of {exported.provenance['run_id']}. README.md says how to use them.",
            file_format="array_record",
            disable_shuffling=True,
        )
        builder.download_and_prepare()
        for file in sorted(Path(builder.data_path).iterdir()):
            file.rename(directory / file.name)


def label_names(class_names: tuple[str, ...]) -> list[str]:
    """Return the names as TFDS can store them, one on a line: without line breaks, not empty and none twice."""
    lines = (" ".join(name.encode("utf-8", "backslashreplace").decode().split()) for name in class_names)
    return distinct(line or f"class {label}" for label, line in enumerate(lines))


def _examples(exported: Exported) -> Iterator[tuple[int, dict[str, Any]]]:
    for position, label in enumerate(exported.hard_labels.tolist()):
        yield (
            position,
            {
                "image": exported.images[position],
                "pixels": exported.pixels[position],
                "label": label,
                "soft_label": exported.soft_labels[position],
            },
        )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep what TFDS says of its work, and its bars, off the terminal."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield

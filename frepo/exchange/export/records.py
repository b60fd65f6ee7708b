"""Distilled images record by record, as other programs read them: PNG files in folders by class, and TFDS."""

import contextlib
import csv
import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from frepo.data.sheet import contact_sheet
from frepo.exchange.export.exported import Exported
from frepo.exchange.export.names import folder_names, label_names
from frepo.rundir.files import scratch_beside

GRID = "grid.png"
TABLE = "labels.csv"

NAME, VERSION, SPLIT = "frepo_distilled", "1.0.0", "train"


def write_png(exported: Exported, directory: Path, taken: Iterable[str] = ()) -> None:
    """Write `grid.png`, `CLASS/000.png` and on, and `labels.csv` into `directory`.

    Values outside of 0..1 are clipped, and all are rounded to 8 bits. The folder is that of the image's hard label, its
    name that of the class as far as file systems take it, and none of `taken`.
    """
    folders = folder_names(exported.class_names, (GRID, TABLE, *taken))
    count, classes = exported.soft_labels.shape
    (directory / GRID).write_bytes(contact_sheet(exported.pixels, max(1, count // classes)))
    width = max(3, len(str(count - 1)))
    places = [0] * classes
    buffer = io.StringIO()
    table = csv.writer(buffer, lineterminator="\n")
    table.writerow(["file", "class", "hard_label", *(f"soft_label_{label}" for label in range(classes))])
    for position, label in enumerate(exported.hard_labels.tolist()):
        file = f"{folders[label]}/{places[label]:0{width}}.png"
        places[label] += 1
        (directory / file).parent.mkdir(exist_ok=True)
        (directory / file).write_bytes(contact_sheet(exported.pixels[position : position + 1], 1))
        soft = [str(value) for value in np.asarray(exported.soft_labels[position])]  # the shortest that gives its bits
        table.writerow([file, exported.class_names[label], label, *soft])
    (directory / TABLE).write_bytes(buffer.getvalue().encode("utf-8", "backslashreplace"))


def write_tfds(exported: Exported, directory: Path) -> None:
    """Write a data set that `tfds.builder_from_directory(directory).as_data_source("train")` reads.

    Record i holds `image` (network input) and `pixels`, float32 [h, w, c], `label`, its hard label, and `soft_label`,
    float32 [C]; bit for bit. Class names that TFDS cannot store, empty or doubled or with line breaks, are changed.
    """
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core.dataset_builders.adhoc_builder import AdhocBuilder

    class Builder(AdhocBuilder, skip_registration=True):  # its module's name goes into dataset_info.json
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
    with scratch_beside(directory) as scratch, _quiet():
        builder = Builder(
            name=NAME,
            version=VERSION,
            features=features,
            split_datasets={SPLIT: ()},
            data_dir=str(scratch),
            description=f"Distilled images of {exported.provenance['run_id']}. README.md says how to use them.",
            file_format="array_record",
            disable_shuffling=True,
        )
        builder.download_and_prepare()
        for file in sorted(Path(builder.data_path).iterdir()):
            file.rename(directory / file.name)


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

"""Other people's distilled data: from their file to a spec like any other."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from frepo.data.load import load_dataset, load_info
from frepo.data.prepare import fetch_missing
from frepo.errors import SpecError
from frepo.exchange.imports.interpret import interpret
from frepo.exchange.imports.read import read_arrays
from frepo.exchange.imports.stored import Layout
from frepo.methods.imported import keep
from frepo.progress import note, warn
from frepo.runtime import RuntimeOptions
from frepo.signals import raise_if_stopping, stop_on_signals
from frepo.spec import Dataset, Full, LoadedSpec, load_spec


@dataclass(frozen=True)
class Said:
    """What a user says of a file, where it does not say so itself.

    Attributes:
        labels: the file of the labels.
        pixels: floats are pixels from 0 to this, 1 or 255, which the spec's preprocessing maps to network inputs; None:
            they are network inputs.
        layout: where images have their channels.
        logits: whether soft labels are logits.
    """

    labels: Path | None = None
    pixels: int | None = None
    layout: Layout | None = None
    logits: bool | None = None


def imported(
    checkpoint: Path, spec: Path, overrides: tuple[str, ...], options: RuntimeOptions, said: Said
) -> LoadedSpec:
    """Return a spec with the distilled data of `checkpoint`, which are kept, in place of what its `[distill]` makes.

    Raises:
        SpecError: the spec is not valid, or imported images do not suit it.
        FrepoError: the file is damaged, hostile or does not fit the spec's data set, or that is not there.
        Interrupted: a signal came while the data set was prepared.
    """
    loaded = load_spec(spec, overrides)
    if isinstance(loaded.spec.distill, Full):
        raise SpecError(f"{spec}: method = 'full' has no distilled data that an imported file could stand in for")
    ipc = loaded.spec.distill.ipc
    loaded.overridden(_distill(ipc, "0" * 64))  # a spec that imported images do not suit is refused at once
    images, labels = taken(checkpoint, loaded.spec.dataset, ipc, options, said)
    digest = keep(images, labels, options.cache_dir)
    return loaded.overridden(_distill(ipc, digest))


class Taken(NamedTuple):
    """A stranger's set of a data set with C classes, class by class."""

    images: np.ndarray
    """Network inputs float32 [C * ipc, h, w, c]."""
    labels: np.ndarray
    """float32 [C * ipc, C], centred, or logits."""


def taken(checkpoint: Path, table: Dataset, ipc: int | None, options: RuntimeOptions, said: Said) -> Taken:
    """Return the distilled data of `checkpoint` as data for `table`, `ipc` images per class, or as many as there are.

    What was recognised is said on the way, and the data set is fetched where it is not there.

    Raises:
        FrepoError: the file is damaged, hostile or does not fit the data set, or that is not there.
        Interrupted: a signal came while the data set was prepared.
    """
    foreign = read_arrays(checkpoint, said.labels)
    with stop_on_signals():
        if not options.offline:
            fetch_missing(table, options.tfds_dir)
        info = load_info(table, options.tfds_dir, options.cache_dir)  # pyright: ignore[reportArgumentType] (hashable)
        found = interpret(
            *(foreign, info.image_shape, info.num_classes, ipc or max(1, len(foreign.images) // info.num_classes)),
            pixels=said.pixels,
            layout=said.layout,
            logits=said.logits,
        )
        for line in found.notes:
            note(f"{checkpoint}: {line}")
        for line in found.doubts:
            warn(f"{checkpoint}: {line}")
        images = found.images
        if found.are_pixels:
            dataset = load_dataset(table, options.tfds_dir, options.cache_dir)  # pyright: ignore[reportArgumentType] (hashable)
            images = dataset.preprocess.apply(images)
        raise_if_stopping()
    return Taken(np.asarray(images, np.float32), found.labels)


def _distill(ipc: int, digest: str) -> str:
    return f'distill={{method="imported", ipc={ipc}, sha256="{digest}"}}'

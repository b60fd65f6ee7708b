"""Other people's distilled data: from their file to a spec like any other."""

from dataclasses import dataclass
from pathlib import Path

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
from frepo.spec import Full, LoadedSpec, load_spec


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
    foreign = read_arrays(checkpoint, said.labels)
    table = loaded.spec.dataset
    with stop_on_signals():
        if not options.offline:
            fetch_missing(table, options.tfds_dir)
        info = load_info(table, options.tfds_dir, options.cache_dir)  # pyright: ignore[reportArgumentType] (hashable)
        found = interpret(
            *(foreign, info.image_shape, info.num_classes, ipc),
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
    digest = keep(np.asarray(images, np.float32), found.labels, options.cache_dir)
    return loaded.overridden(_distill(ipc, digest))


def _distill(ipc: int, digest: str) -> str:
    return f'distill={{method="imported", ipc={ipc}, sha256="{digest}"}}'

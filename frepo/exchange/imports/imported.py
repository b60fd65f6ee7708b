"""Other people's distilled data: from their file to a spec like any other."""

from pathlib import Path

import numpy as np

from frepo.data.load import load_dataset, load_info
from frepo.data.prepare import fetch_missing
from frepo.errors import SpecError
from frepo.exchange.imports.interpret import interpret
from frepo.exchange.imports.read import read_arrays
from frepo.methods.imported import keep
from frepo.progress import note, warn
from frepo.runtime import RuntimeOptions
from frepo.spec import Full, LoadedSpec, load_spec


def imported(
    checkpoint: Path, spec: Path, overrides: tuple[str, ...], options: RuntimeOptions, *, pixels: int | None
) -> LoadedSpec:
    """Return a spec with the distilled data of `checkpoint`, which are kept, in place of what its `[distill]` makes.

    With `pixels` its floats are pixels from 0 to 1 or to 255, which the spec's preprocessing maps to network inputs;
    without, they are network inputs.

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
    foreign = read_arrays(checkpoint)
    table = loaded.spec.dataset
    if not options.offline:
        fetch_missing(table.name, options.tfds_dir)
    info = load_info(table, options.tfds_dir, options.cache_dir)  # pyright: ignore[reportArgumentType] (hashable)
    found = interpret(foreign, info.image_shape, info.num_classes, ipc, pixels=pixels)
    for line in found.notes:
        note(f"{checkpoint}: {line}")
    for line in found.doubts:
        warn(f"{checkpoint}: {line}")
    images = found.images
    if found.are_pixels:
        dataset = load_dataset(table, options.tfds_dir, options.cache_dir)  # pyright: ignore[reportArgumentType] (hashable)
        images = dataset.preprocess.apply(images)
    digest = keep(np.asarray(images, np.float32), found.labels, options.cache_dir)
    return loaded.overridden(_distill(ipc, digest))


def _distill(ipc: int, digest: str) -> str:
    return f'distill={{method="imported", ipc={ipc}, sha256="{digest}"}}'

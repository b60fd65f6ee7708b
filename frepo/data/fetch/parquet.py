"""Parquet files of encoded images, as the Hub keeps them, to arrays."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from frepo.data.sources.columns import Columns, quoted
from frepo.data.sources.parquet import Rows
from frepo.errors import FrepoError
from frepo.signals import raise_if_stopping


def read_parquet(
    paths: Iterable[Path], image: str, label: str, shape: tuple[int, int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the images, uint8 [n, *shape], of a column of encoded ones, and the labels, int32 [n], of another.

    Missing labels are -1, and those that 32 bits do not hold the largest that they do.

    Raises:
        FrepoError: the files are damaged or have other columns, or an image is of another size.
        Interrupted: a signal came.
    """
    rows = Rows(sorted(paths), Columns(f"{quoted(image)}.bytes", quoted(label), None))
    examples = rows.examples(shape[2], None)
    pixels = np.empty((examples.count, *shape), np.uint8)  # of at most MOST_ROWS images
    for start in range(0, examples.count, examples.at_once):
        raise_if_stopping()
        places = list(range(start, min(start + examples.at_once, examples.count)))
        for place, stored in zip(places, examples.fetch(places), strict=True):
            decoded = examples.decode(stored, place)[0]
            if decoded.shape != shape:
                raise FrepoError(f"{examples.describe(place)} has an image of {decoded.shape}, not {shape}")
            pixels[place] = decoded
    return pixels, np.clip(rows.labels, -1, np.iinfo(np.int32).max).astype(np.int32)

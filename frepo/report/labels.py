"""The labels of distilled images, for those who point at one."""

from pathlib import Path

import numpy as np

from frepo.errors import FrepoError
from frepo.rundir import record
from frepo.rundir.arrays import read_npz

MOST_SHOWN = 5
"""Classes named for an image, the largest values first."""

SHOWN_DIGITS = 2
"""Of a value: as many as the page shows, for a value that is rounded twice may be off by one in the last."""

Label = list[tuple[int, float]]
"""Classes and their values."""


def read_labels(stage_directory: Path, count: int) -> list[Label] | None:
    """Return the label of each of `count` distilled images, or None where the file is missing or damaged."""
    try:
        (labels,) = read_npz(stage_directory / record.DISTILLED, ("labels",), "the page goes without")
    except FrepoError:
        return None
    if labels.ndim != 2 or len(labels) != count or labels.dtype.kind != "f" or not np.isfinite(labels).all():
        return None
    largest = np.argsort(-labels, axis=1, kind="stable")[:, :MOST_SHOWN]
    return [
        [(int(c), round(float(label[c]), SHOWN_DIGITS)) for c in order]
        for label, order in zip(labels, largest, strict=True)
    ]

"""The budget of a distilled set: what it costs in bytes."""

from collections.abc import Mapping

import numpy as np

ROUNDING = 1e-5
"""By how much numbers of hard labels may differ, as a share of the distance from the smallest to the largest."""


def budget_bytes(images: np.ndarray, labels: np.ndarray, further: Mapping[str, np.ndarray]) -> int:
    """Return what a set costs in bytes, each array as it is kept in `distilled.npz`.

    Images float32 [n, h, w, c] cost 4 n h w c bytes, soft labels float32 [n, C] 4 n C, and further learned arrays, such
    as a temperature, what they hold. Hard labels cost nothing: images stand class by class, as many of each, so that
    their order says which they are.
    """
    arrays = [images, *further.values()]
    if not are_hard(labels):
        arrays.append(labels)
    return sum(array.nbytes for array in arrays)


def are_hard(labels: np.ndarray) -> bool:
    """Return whether labels [n, C] say no more than a class each: one-hot, scaled and shifted alike for all images."""
    of_class = np.arange(labels.shape[1]) == labels.argmax(axis=1)[:, None]
    allowed = ROUNDING * np.ptp(labels)
    return bool(np.ptp(labels[of_class]) <= allowed and (labels.shape[1] == 1 or np.ptp(labels[~of_class]) <= allowed))

"""Choosing real images."""

import numpy as np


def random_per_class(labels: np.ndarray, num_classes: int, ipc: int, seed: tuple[int, ...]) -> np.ndarray:
    """Return indices of `ipc` images of each class, int64 [num_classes * ipc], class by class, without repetition.

    `labels` is int [n]; every class must have at least `ipc` images.
    """
    random = np.random.default_rng(seed)
    return np.concatenate(
        [random.choice(np.flatnonzero(labels == label), ipc, replace=False) for label in range(num_classes)]
    )

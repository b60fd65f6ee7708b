"""Training images for learning, and those held out for choices."""

import numpy as np

from frepo.data.decode import share_of_each_class


def split(validation_fraction: float | None, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return positions of the training images used, and of those held out, the same in every call."""
    everything = np.arange(len(labels))
    if validation_fraction is None:
        return everything, everything[:0]
    held_out = share_of_each_class(np.asarray(labels), validation_fraction)
    return np.setdiff1d(everything, held_out), held_out

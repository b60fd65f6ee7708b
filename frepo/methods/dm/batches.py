"""The real images that a step matches: a pure function of seed and step."""

from collections.abc import Sequence

import numpy as np

from frepo.data.batches import batch_indices


def positions_of_classes(positions: np.ndarray, labels: np.ndarray, num_classes: int) -> list[np.ndarray]:
    """Return the images of each class among those at `positions`, int [n]; `labels` int [N] cover all images."""
    return [positions[labels[positions] == label] for label in range(num_classes)]


def images_per_class(batch_size: int, classes: Sequence[np.ndarray]) -> int:
    """Return the number of real images of each class in a step: at most the size of the largest class."""
    return min(batch_size, max(len(positions) for positions in classes))


def class_batches(
    seed: tuple[int, ...], classes: Sequence[np.ndarray], size: int, start: int, count: int
) -> np.ndarray:
    """Return real images for steps `start` to `start + count - 1`, int32 [count, C * size], class by class.

    `classes` are the positions of the images of each of C classes. Each class is its own stream of shuffled epochs, so
    all its images occur equally often, whatever the sizes of the other classes.
    """
    parts = [
        positions[batch_indices((*seed, label), len(positions), size, start, count)]
        for label, positions in enumerate(classes)
    ]
    return np.concatenate(parts, axis=1).astype(np.int32)

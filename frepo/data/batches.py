"""The images of a batch: a pure function of seed and step."""

import numpy as np

from frepo.engine.randomness import Stream


def target_batches(seed: int, kept: np.ndarray, batch_size: int, start: int, count: int) -> np.ndarray:
    """Return the images that steps `start` to `start + count - 1` of a learning see, int32 [count, batch_size].

    `kept` are the positions of the images to learn from, int [n].
    """
    chosen = batch_indices((seed, Stream.TARGET_BATCHES), len(kept), batch_size, start, count)
    return kept[chosen].astype(np.int32)


def batch_indices(seed: tuple[int, ...], num_images: int, batch_size: int, start: int, count: int) -> np.ndarray:
    """Return the indices of the batches of steps `start` to `start + count - 1`, int32 [count, batch_size].

    The batches cut the endless sequence of shuffled epochs into pieces: each epoch is a permutation of all
    `num_images` images drawn from (seed, epoch), and a batch may reach into the next epoch. So all images occur
    equally often, and a resumed run gets the same batches.
    """
    first, end = start * batch_size, (start + count) * batch_size
    epochs = range(first // num_images, -(-end // num_images))
    stream = np.concatenate([np.random.default_rng([*seed, epoch]).permutation(num_images) for epoch in epochs])
    offset = epochs.start * num_images
    return stream[first - offset : end - offset].astype(np.int32).reshape(count, batch_size)

"""Randomness: a seed, a number for each use of it, and the JAX keys made of them."""

from enum import IntEnum

import jax
import numpy as np


class Stream(IntEnum):
    """The uses of randomness, combined with the spec's seed. Values never change: results depend on them."""

    SELECTION = 0
    POOL_SCHEDULE = 1
    TARGET_BATCHES = 2
    POOL_START = 3
    POOL_STEP = 4
    EVALUATION = 5
    FEATURES = 6
    SHADOWS = 7
    ATTACKS = 8
    START_IMAGES = 9
    WINDOWS = 10


def key_of(seed: tuple[int, ...]) -> jax.Array:
    """Return the key of (spec's seed, stream, ...), each number after the first folded in."""
    key = jax.random.key(seed[0])
    for number in seed[1:]:
        key = jax.random.fold_in(key, number)
    return key


def key_data(*seeds: tuple[int, ...]) -> np.ndarray:
    """Return the keys of `seeds` as uint32 [seeds, 2], as a compiled program takes them.

    Keys are its arguments (`jax.random.wrap_key_data` makes keys of them inside), never its constants, so that one
    program serves all seeds.
    """
    return np.stack([np.asarray(jax.random.key_data(key_of(seed))) for seed in seeds])

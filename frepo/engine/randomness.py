"""Where randomness comes from: a seed, a number for each use of it, and JAX keys made of them."""

from collections.abc import Callable
from enum import IntEnum
from typing import Any

import jax
import numpy as np


class Stream(IntEnum):
    """What randomness is drawn for; combined with the spec's seed. Values never change: results depend on them."""

    SELECTION = 0
    POOL_SCHEDULE = 1
    TARGET_BATCHES = 2
    POOL_START = 3
    POOL_STEP = 4
    EVALUATION = 5
    FEATURES = 6
    SHADOWS = 7
    ATTACKS = 8


def key_of(seed: tuple[int, ...]) -> jax.Array:
    """Return the key of (spec's seed, stream, ...): each further number is folded in."""
    key = jax.random.key(seed[0])
    for number in seed[1:]:
        key = jax.random.fold_in(key, number)
    return key


def keys_for_program(*seeds: tuple[int, ...]) -> Callable[[], jax.Array]:
    """Return what gives, inside a compiled program, the keys of `seeds` stacked on a leading axis.

    They are a constant made of a host array, which a program for any number of devices can hold.
    """
    data: Any = np.stack([np.asarray(jax.random.key_data(key_of(seed))) for seed in seeds])
    return lambda: jax.random.wrap_key_data(data)

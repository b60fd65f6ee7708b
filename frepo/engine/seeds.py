"""One number for each use of randomness, so that no two uses share a stream."""

from enum import IntEnum


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

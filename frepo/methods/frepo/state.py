"""What distillation learns and all that it has to remember."""

from typing import Any

import optax
from flax import struct

from frepo.networks.training import Network

Array = Any
"""A JAX array on its way through the computation, a NumPy array before and after."""


@struct.dataclass
class DistilledData:
    """The learned set, the support of the regression.

    Attributes:
        images: float32 [num_classes * ipc, h, w, c], class by class, network inputs (preprocessed pixels).
        labels: float32 [num_classes * ipc, num_classes], centred: one-hot labels minus 1/C are their like.
    """

    images: Array
    labels: Array


@struct.dataclass
class Best:
    """The best state so far by held-out training images.

    Attributes:
        data: its distilled data.
        accuracy: float32, its score in 0..1, or less than 0 before there is one.
        step: int32, steps done when it was reached.
    """

    data: DistilledData
    accuracy: Array
    step: Array


@struct.dataclass
class DistillState:
    """All that a resumed run needs besides spec and step.

    Ages of the pool's members, which of them a step uses and all random keys follow from (seed, step), so they are
    computed, not stored.
    """

    data: DistilledData
    opt_state: optax.OptState
    pool: Network
    """All members, stacked on a leading axis."""
    best: Best | None = None
    """None where the last state is the result."""

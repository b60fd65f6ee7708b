"""What distillation learns and all that it has to remember."""

import optax
from flax import struct

from frepo.methods.base import Array, DistilledData
from frepo.networks.training import Network


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

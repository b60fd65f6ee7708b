"""The state of distillation."""

import optax
from flax import struct

from frepo.methods.base import Array, DistilledData
from frepo.networks.training import Network


@struct.dataclass
class Best:
    """The best state so far on held-out training images.

    Attributes:
        data: its distilled data.
        accuracy: float32, its accuracy in 0..1, or negative before the first validation.
        step: int32, number of steps done at this state.
    """

    data: DistilledData
    accuracy: Array
    step: Array


@struct.dataclass
class DistillState:
    """The whole state of a resumed run besides spec and step.

    Ages of the pool networks, the choice among them and all random keys follow from (seed, step), so they are
    computed, not stored.
    """

    data: DistilledData
    opt_state: optax.OptState
    pool: Network
    """All pool networks, stacked on a leading axis."""
    best: Best | None = None
    """None if the last state is the result."""

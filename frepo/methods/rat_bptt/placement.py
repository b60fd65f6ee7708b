"""Where the window lies, as AT-BPTT draws it: by the norms of the gradients, in three stages of the learning.

A network is trained once in each pass over the real images to see the norms. In the early stage steps with large
gradients are likely to begin the window, and it is long where the norm changes much; in the middle all places are
equally likely and the window is long; in the late stage steps with small gradients are likely and it is short. A stage
ends when the accuracy of trained networks has grown by little in that many passes in a row
(github.com/GH209515338/AT-BPTT). There a late window begins at the mirror image of a step with a large gradient, even
before step 0.
"""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from frepo.spec import RatBptt

EARLY, MIDDLE, LATE = 0, 1, 2
LITTLE = (0.015, 0.01, 0.0)
"""Growth of the accuracy from pass to pass, as a share, below which a pass counts as one without progress, by stage."""
PATIENCE = (0.15, 0.125)
"""Passes in a row without progress that end the early and the middle stage, as a share of the trained steps."""


@struct.dataclass
class Placed:
    """Where the window lies, and what decides over it.

    Attributes:
        prefix: int32 [], steps before it.
        size: int32 [], its steps.
        stage: int32 [], `EARLY`, `MIDDLE` or `LATE`.
        stalled: int32 [], passes in a row without progress.
        accuracy: float32 [], sum over the steps of the current pass.
        before: float32 [], mean of the pass before.
    """

    prefix: Any
    size: Any
    stage: Any
    stalled: Any
    accuracy: Any
    before: Any


def fixed(prefix: Any, size: int) -> Placed:
    """Return a window about which nothing is decided along the way."""
    zero, none = jnp.int32(0), jnp.float32(0)
    return Placed(prefix, jnp.int32(size), zero, zero, none, none)


def first_placed(settings: RatBptt) -> Placed:
    """Return what is decided before anything was seen."""
    return fixed(jnp.int32((settings.total - settings.window) // 2), settings.window)


def drawn(placed: Placed, norms: jax.Array, key: jax.Array, settings: RatBptt) -> Placed:
    """Return where the window lies in the next pass, by the norms of the gradients of all steps, float32 [total]."""
    large, small = (jax.random.categorical(key, sign * norms) for sign in (1.0, -1.0))
    changes = jnp.abs(jnp.diff(norms, prepend=norms[:1]))
    rank = jnp.sum(changes < changes[large])
    total, window, change = settings.total, settings.window, settings.change
    adapted = window - change + 2 * change * rank // total
    size = jnp.stack([adapted, jnp.int32(window + change), jnp.int32(window - change)])
    size = size[placed.stage].astype(jnp.int32)
    anywhere = jax.random.randint(key, (), 0, total - size + 1)
    prefix = jnp.stack([large, anywhere, small])[placed.stage].astype(jnp.int32)
    return replace(placed, prefix=jnp.minimum(prefix, total - size), size=size)


def looked_at(placed: Placed, accuracy: jax.Array, steps_of_pass: int, last: jax.Array, total: int) -> Placed:
    """Return the state of the stages after a step with that accuracy, which is the `last` of its pass or not."""
    right = placed.accuracy + accuracy
    mean = right / steps_of_pass
    little, patience = jnp.array(LITTLE)[placed.stage], jnp.array([*PATIENCE, jnp.inf])[placed.stage] * total
    stalled = jnp.where(mean - placed.before < little, placed.stalled + 1, 0)
    ends = stalled >= patience
    new = replace(
        placed, stage=placed.stage + ends, stalled=jnp.where(ends, 0, stalled), accuracy=jnp.float32(0), before=mean
    )
    going_on = replace(placed, accuracy=right)
    return jax.tree.map(lambda a, b: jnp.where(last > 0, a, b).astype(b.dtype), new, going_on)

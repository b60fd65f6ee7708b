"""The learning rates of RCIG's two inner solves: found on a fresh network, and adapted along the way."""

from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

START = (1e-5, 5e-5)
"""Of the inner solve, and of the solve with the Hessian."""
RAISED, LOWERED = 1.2, 0.7
"""Factor while the losses fall from each step to the next, and once at the end."""
MOST_RAISES = 120
WINDOW = 50
"""Steps after which the rate of the inner solve is looked at."""
TOO_FAST, SAFE = 0.29, 0.7
"""Share of steps whose last loss is above the first one, and share of those that fall throughout."""
SLOWER, FASTER = 0.9, 1.05


@struct.dataclass
class Rates:
    """The two rates, and what was seen since the last look.

    Attributes:
        inner: float32 [].
        hessian: float32 []; it stays as it was found.
        fell: int32 [], steps whose inner losses fell throughout.
        rose: int32 [], steps whose last inner loss was above the first one.
    """

    inner: Any
    hessian: Any
    fell: Any
    rose: Any


def found_rate(losses_at: Callable[[np.float32], Iterable[Any]], start: float) -> np.float32:
    """Return the rate from which on losses do not fall from each step to the next, a little lowered.

    `losses_at` gives the losses of the steps at a rate, one after the other: no more are asked for than are needed. The
    rates are `start` raised again and again; the first at which the losses do not fall is sought by doubling and
    halving, since at faster rates they do not fall either. The rate is raised once more after it (Loo et al. 2023,
    their code), so the result is 0.84 of the first that failed.
    """
    rates = [np.float32(start)]
    while len(rates) <= MOST_RAISES:
        rates.append(np.float32(rates[-1] * RAISED))
    falling, failing = -1, 0
    while failing < MOST_RAISES - 1 and falls_at(losses_at, rates[failing]):
        falling, failing = failing, min(2 * failing + 1, MOST_RAISES - 1)
    while failing - falling > 1:
        middle = (falling + failing) // 2
        falling, failing = (middle, failing) if falls_at(losses_at, rates[middle]) else (falling, middle)
    return np.float32(rates[failing + 1] * LOWERED)


def falls_at(losses_at: Callable[[np.float32], Iterable[Any]], rate: np.float32) -> bool:
    """Return whether the losses at a rate fall from each step to the next; no more are asked for once one does not."""
    return all(later < earlier for earlier, later in pairwise(losses_at(rate)))


def falls_throughout(losses: Any) -> Any:
    """Return whether each of the losses [steps] is below the one before; not where one is not a number."""
    return jnp.all(losses[1:] < losses[:-1])


def adapted(rates: Rates, losses: jax.Array, step: jax.Array) -> Rates:
    """Return the rates after the losses of a step, numbered from 0, were seen."""
    fell = rates.fell + falls_throughout(losses)
    rose = rates.rose + (losses[-1] > losses[0])
    factor = jnp.where(rose >= TOO_FAST * WINDOW, SLOWER, jnp.where(fell >= SAFE * WINDOW, FASTER, 1.0))
    now = (step + 1) % WINDOW == 0
    none = jnp.int32(0)
    return Rates(
        jnp.where(now, rates.inner * factor, rates.inner),
        rates.hessian,
        jnp.where(now, none, fell),
        jnp.where(now, none, rose),
    )

"""Whether the numbers of a computation are finite: what to do where they are not."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from frepo.engine.devices import compiled
from frepo.engine.journal import Journal
from frepo.engine.loop import Loop
from frepo.errors import DivergedError


class Finite:
    """Ends a loop where a metric or a number of its state is not finite, before such a state is saved or used."""

    def __init__(self, loop: Loop[Any], journal: Journal) -> None:
        self._loop, self._journal = loop, journal
        self._ask = compiled(_are_finite)

    def metrics(self, step: int, values: Mapping[str, Any]) -> dict[str, float]:
        """Return the metrics of `step` as Python numbers.

        Raises:
            DivergedError: one of them is not finite.
        """
        found = {name: float(value) for name, value in values.items()}
        for name, value in found.items():
            if not np.isfinite(value):
                raise self._diverged(f"{name} is {value} at step {step:,}")
        return found

    def state(self, steps: int, state: Any) -> None:
        """Look at all numbers of the state after so many steps.

        Raises:
            DivergedError: one of them is not finite.
        """
        if all(finite := jax.device_get(self._ask(state))):
            return
        paths = [path for path, _ in jax.tree_util.tree_leaves_with_path(state)]
        first = jax.tree_util.keystr(paths[finite.index(False)])
        raise self._diverged(f"{first} of the state is not finite after {steps:,} steps")

    def _diverged(self, what: str) -> DivergedError:
        saved = self._journal.saved_step
        good = f"the state saved after {saved:,} steps is good" if saved else "no state was saved before"
        lower = self._loop.precision != "float32"
        precision = f', and so may precision = "float32" in place of {self._loop.precision}' if lower else ""
        return DivergedError(
            f"{self._journal.label}: {what}; the computation has diverged ({good}). {self._loop.remedy}{precision}"
        )


def _are_finite(state: Any) -> list[jax.Array]:
    """Return for each leaf whether all of it is finite, as bool []; integers are."""
    return [jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(state)]

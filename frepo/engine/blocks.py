"""Running a step function for a block of steps the way the backend does it fastest.

On a GPU a block is one `lax.scan`. On a CPU it is a host loop that dispatches one jitted step after the other without
waiting for results, because XLA's CPU backend runs convolutions inside control flow 10 to 30 times slower than outside.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import numpy as np
from jax.stages import Lowered

from frepo.engine.devices import compiled, place

State = Any
Metrics = Mapping[str, jax.Array]
Step = Callable[[State, Any, Any, Any], tuple[State, Metrics]]

STEPS_OF_SCAN = 100
STEPS_OF_HOST_LOOP = 10
"""Steps of a block; one of the host loop is short, because progress is told and rows are written between blocks."""

BYTES_OF_BLOCK = 2**28
"""Inputs of a block where they are large; two blocks of them are held, one in use and one made ahead."""

IN_FLIGHT = 2
"""Steps that the host loop runs ahead of the device: enough to hide the dispatch, few enough to stop at once."""


def on_cpu() -> bool:
    """Return whether steps are dispatched from the host instead of scanned, and networks written out one by one."""
    return jax.default_backend() == "cpu"


def block_steps(bytes_per_step: int = 0) -> int:
    """Return the number of steps of a block, fewer where the inputs of a step are large."""
    most = STEPS_OF_HOST_LOOP if on_cpu() else STEPS_OF_SCAN
    return max(1, min(most, BYTES_OF_BLOCK // max(1, bytes_per_step)))


def branch(choice: Any, if_true: Callable[[Any], Any], if_false: Callable[[Any], Any], operand: Any) -> Any:
    """Choose while tracing where `choice` is a Python bool, on the device where it is traced."""
    if isinstance(choice, bool):
        return if_true(operand) if choice else if_false(operand)
    return jax.lax.cond(choice, if_true, if_false, operand)


class BlockRunner:
    """Compiles `step(state, constants, given, choice) -> (state, metrics)` once and runs blocks of it."""

    def __init__(self, step: Step) -> None:
        self._step = compiled(step, donate_argnums=0, static_argnums=3)

        def scan(state: State, constants: Any, given: Any, choices: jax.Array) -> tuple[State, Metrics]:
            return jax.lax.scan(lambda carry, x: step(carry, constants, *x), state, (given, choices))

        self._scan = compiled(scan, donate_argnums=0)

    def __call__(
        self, state: State, constants: Any, given: Any, choices: np.ndarray, stopping: Callable[[], bool]
    ) -> tuple[State, Sequence[Metrics]]:
        """Run as many steps as `choices` [n] has entries, fewer on a CPU where `stopping` says so.

        `given` is a pytree of host arrays with a leading axis n. Returns the new state (the old one is given up) and
        the metrics of each step done.
        """
        if on_cpu():
            return self._host_loop(state, constants, given, choices, stopping)
        state, metrics = self._scan(state, constants, *place((given, choices)))
        host = jax.device_get(metrics)
        return state, [{name: values[i] for name, values in host.items()} for i in range(len(choices))]

    def lower_block(self, state: State, constants: Any, given: Any, choices: np.ndarray) -> Lowered:
        """Return what runs a block, ready to be compiled: the scan, or one step of the host loop."""
        if on_cpu():
            return self._lower_step(state, constants, given)
        return self._scan.lower(state, constants, *place((given, choices)))

    def flops_per_step(self, state: State, constants: Any, given: Any) -> float:
        """Return the floating-point operations of a step, as XLA counts them."""
        analysis: Any = self._lower_step(state, constants, given).cost_analysis()
        return float(analysis["flops"])

    def _lower_step(self, state: State, constants: Any, given: Any) -> Lowered:
        return self._step.lower(state, constants, place(jax.tree.map(partial(_row, 0), given)), False)

    def _host_loop(
        self, state: State, constants: Any, given: Any, choices: np.ndarray, stopping: Callable[[], bool]
    ) -> tuple[State, Sequence[Metrics]]:
        done: list[Metrics] = []
        in_flight: deque[Metrics] = deque()
        for i, choice in enumerate(choices.tolist()):
            if stopping():
                break
            state, metrics = self._step(state, constants, place(jax.tree.map(partial(_row, i), given)), choice)
            done.append(metrics)
            in_flight.append(metrics)
            if len(in_flight) > IN_FLIGHT:
                jax.block_until_ready(in_flight.popleft())
        return state, done


def _row(i: int, array: np.ndarray) -> np.ndarray:
    return array[i]

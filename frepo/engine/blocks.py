"""Running blocks of steps of a step function in the form that is fastest on the backend.

On a GPU a block is one `lax.scan`. On a CPU it is a host loop that dispatches one jitted step after the other without
waiting for results, because XLA's CPU backend runs convolutions inside control flow 10 to 30 times slower than outside.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.stages import Lowered

from frepo.engine.devices import compiled, place
from frepo.engine.phases import Metrics, Phased, PhasePrograms
from frepo.engine.shared import shared

State = Any
Step = Callable[[State, Any, Any], tuple[State, Metrics]]
"""(state, constants, host input) -> (state, metrics)."""

STEPS_OF_SCAN = 100
STEPS_OF_HOST_LOOP = 10
"""Steps of a block; the host loop's are short, because progress is reported and rows are written between blocks."""

BYTES_OF_BLOCK = 2**28
"""Largest size of a block's inputs; two blocks are held, one in use and one prepared ahead."""

IN_FLIGHT = 2
"""Steps that the host loop runs ahead of the device: enough to hide the dispatch, few enough to stop at once."""


def on_cpu() -> bool:
    """Return whether steps are dispatched from the host instead of scanned, and networks written out one by one."""
    return jax.default_backend() == "cpu"


def block_steps(bytes_per_step: int = 0, *, phased: bool = False) -> int:
    """Return the number of steps of a block, smaller if the inputs of a step are large; one step of phases is long."""
    if phased:
        return 1
    most = STEPS_OF_HOST_LOOP if on_cpu() else STEPS_OF_SCAN
    return max(1, min(most, BYTES_OF_BLOCK // max(1, bytes_per_step)))


def branch(choice: Any, if_true: Callable[[Any], Any], if_false: Callable[[Any], Any], operand: Any) -> Any:
    """Branch during tracing if `choice` is a Python bool, on the device if it is traced."""
    if isinstance(choice, bool):
        return if_true(operand) if choice else if_false(operand)
    return jax.lax.cond(choice, if_true, if_false, operand)


@jax.tree_util.register_static
@dataclass(frozen=True)
class _Choice:
    """A choice of the host loop: part of the key of a compiled program, not of its input."""

    value: bool


class BlockRunner:
    """Compiles `step(state, constants, given) -> (state, metrics)` once and runs blocks of it.

    `given` is a pytree. Its bool leaves of shape [] are choices: in the host loop each is a Python bool, and each
    combination that occurs has its own program; in a scan they are traced. `branch` serves both. The phases of a
    `Phased` step are programs of the host loop, too; it has no choices.
    """

    def __init__(self, step: Step) -> None:
        self._step = compiled(_with_choices(step), donate_argnums=0)
        self._scan = compiled(_scanned(step), donate_argnums=0)
        self._phases = _phase_programs(step) if isinstance(step, Phased) else None

    def __call__(
        self, state: State, constants: Any, given: Any, stopping: Callable[[int], bool]
    ) -> tuple[State, Sequence[Metrics]]:
        """Run the n steps of `given`, a pytree of host arrays [n, ...]; fewer on a CPU if `stopping(steps done)`.

        Returns the new state (the old one is donated) and the metrics of each step done.
        """
        if on_cpu():
            return self._host_loop(state, constants, given, stopping)
        state, metrics = self._scan(state, constants, place(given))
        host = jax.device_get(metrics)
        return state, [{name: values[i] for name, values in host.items()} for i in range(_count(given))]

    def programs_of_block(self, state: State, constants: Any, given: Any) -> list[Lowered]:
        """Return the programs of a block, ready to be compiled: the scan, or those of the host loop's first step."""
        if on_cpu():
            return [program for program, _ in self._programs_of_step(state, constants, given)]
        return [self._scan.lower(state, constants, place(given))]

    def flops_per_step(self, state: State, constants: Any, given: Any) -> float:
        """Return the floating-point operations of the first step of `given`, as XLA counts them."""
        # XLA counts the body of a loop once, so a step's programs are counted one by one on all backends.
        programs = self._programs_of_step(state, constants, given)
        analyses: Any = [(program.cost_analysis(), times) for program, times in programs]
        return sum(float(analysis.get("flops", 0)) * times for analysis, times in analyses)

    def _programs_of_step(self, state: State, constants: Any, given: Any) -> list[tuple[Lowered, float]]:
        if self._phases:
            return self._phases.lowered(state, constants, place(_traced_row(given, 0)))
        return [(self._step.lower(state, constants, place(_row(given, 0))), 1.0)]

    def _host_loop(
        self, state: State, constants: Any, given: Any, stopping: Callable[[int], bool]
    ) -> tuple[State, Sequence[Metrics]]:
        done: list[Metrics] = []
        in_flight: deque[Metrics] = deque()
        for i in range(_count(given)):
            if stopping(i):
                break
            if self._phases:
                after = self._phases(state, constants, place(_traced_row(given, i)), lambda: stopping(0))
                if after is None:
                    break
                state, metrics = after
            else:
                state, metrics = self._step(state, constants, place(_row(given, i)))
            done.append(metrics)
            in_flight.append(metrics)
            if len(in_flight) > IN_FLIGHT:
                jax.block_until_ready(in_flight.popleft())
        return state, done


@shared
def _with_choices(step: Step) -> Step:
    def chosen(state: State, constants: Any, given: Any) -> tuple[State, Metrics]:
        return step(state, constants, jax.tree.map(_value, given, is_leaf=_is_choice))

    return chosen


@shared
def _scanned(step: Step) -> Step:
    def scan(state: State, constants: Any, given: Any) -> tuple[State, Metrics]:
        return jax.lax.scan(lambda carry, x: step(carry, constants, x), state, given)

    return scan


@shared
def _phase_programs(step: Phased) -> PhasePrograms:
    return PhasePrograms(step)


def _count(given: Any) -> int:
    return len(jax.tree.leaves(given)[0])


def _row(given: Any, i: int) -> Any:
    """Return the input of step `i` of a block in the host loop."""
    return jax.tree.map(lambda array: _Choice(bool(array[i])) if _chooses(array) else array[i], given)


def _traced_row(given: Any, i: int) -> Any:
    return jax.tree.map(lambda array: array[i], given)


def _chooses(array: np.ndarray) -> bool:
    return array.dtype == np.bool_ and array.ndim == 1


def _is_choice(leaf: Any) -> bool:
    return isinstance(leaf, _Choice)


def _value(leaf: Any) -> Any:
    return leaf.value if isinstance(leaf, _Choice) else leaf

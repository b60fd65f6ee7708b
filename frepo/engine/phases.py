"""A step made of phases that are repeated: one program with loops on a GPU, a program for each phase on a CPU.

XLA's CPU backend runs convolutions inside control flow 10 to 30 times slower than outside, so there the host repeats.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax.stages import Lowered

from frepo.engine.devices import compiled, place

Metrics = Mapping[str, jax.Array]


@dataclass(frozen=True)
class Phase:
    """A part of a step that is repeated."""

    body: Callable[[Any, Any, Any, Any], Any]
    """(carry, constants, host input, number from 0, int32 []) -> carry."""
    times: Callable[[Any, Any], Any]
    """(carry, host input) -> int32 [], how often; it may differ from step to step without a new program."""


@dataclass(frozen=True)
class Phased:
    """A step `(state, constants, host input) -> (state, metrics)` that begins, goes through phases and finishes."""

    begin: Callable[[Any, Any, Any], Any]
    """(state, constants, host input) -> carry."""
    phases: tuple[Phase, ...]
    finish: Callable[[Any, Any, Any, Any], tuple[Any, Metrics]]
    """(state, carry, constants, host input) -> (state, metrics)."""

    def __call__(self, state: Any, constants: Any, given: Any) -> tuple[Any, Metrics]:
        """Return the new state and the metrics; traced, as one program with loops."""
        carry = self.begin(state, constants, given)
        for phase in self.phases:

            def repeat(number: Any, carry: Any, body: Any = phase.body) -> Any:
                return body(carry, constants, given, number)

            carry = jax.lax.fori_loop(0, phase.times(carry, given), repeat, carry)
        return self.finish(state, carry, constants, given)


class PhasePrograms:
    """The programs of a step's phases, called by the host."""

    def __init__(self, step: Phased) -> None:
        self._step = step
        self._begin = compiled(step.begin)
        bodies = dict.fromkeys(phase.body for phase in step.phases)
        self._bodies = {body: compiled(body, donate_argnums=0) for body in bodies}
        self._finish = compiled(step.finish, donate_argnums=0)

    def __call__(
        self, state: Any, constants: Any, given: Any, stopping: Callable[[], bool]
    ) -> tuple[Any, Metrics] | None:
        """Return the new state (the old one is donated) and the metrics; None, the state kept, if it is stopped."""
        carry = self._begin(state, constants, given)
        for phase in self._step.phases:
            for number in range(int(phase.times(carry, given))):
                if stopping():
                    return None
                carry = self._bodies[phase.body](carry, constants, given, place(jnp.int32(number)))
                jax.block_until_ready(carry)  # else all of a phase is under way before a signal is seen
        return self._finish(state, carry, constants, given)

    def lowered(self, state: Any, constants: Any, given: Any) -> list[tuple[Lowered, float]]:
        """Return each program, ready to be compiled, with how often a step calls it."""
        carry, number = self._begin(state, constants, given), place(jnp.int32(0))
        programs = [(self._begin.lower(state, constants, given), 1.0)]
        for phase in self._step.phases:
            times = float(phase.times(carry, given))
            programs.append((self._bodies[phase.body].lower(carry, constants, given, number), times))
        return [*programs, (self._finish.lower(state, carry, constants, given), 1.0)]

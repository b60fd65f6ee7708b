"""What is done step by step, and between steps."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from frepo.engine.blocks import Step
from frepo.engine.devices import compiled, place
from frepo.spec.architecture import Precision

S = TypeVar("S")


@dataclass(frozen=True)
class Milestone(Generic[S]):
    """What is done between steps."""

    steps: tuple[int, ...]
    """Ascending: it is called when so many steps are done, but not at 0."""
    call: Callable[[S, int], tuple[S, Mapping[str, Any]]]
    """Called with the state and the steps done; returns the state to go on with, and metrics."""


def every(steps: int, of: int) -> tuple[int, ...]:
    """Return every `steps` of `of` steps, and the last."""
    return (*range(steps, of, steps), of)


@dataclass(frozen=True)
class SavedForm(Generic[S]):
    """How a state is saved where that is not as the loop holds it: in the same form on every backend."""

    initial: Callable[[Any], Any]
    """What `pack` makes of the state before step 0, from the loop's `start`; traced, for its shapes."""
    pack: Callable[[S], Any]
    unpack: Callable[[Any], S]
    """Of host arrays, which keep their bits, as those of `pack` do."""


@dataclass(frozen=True)
class Loop(Generic[S]):
    """What is done step by step, as pure functions of (seed, step).

    What follows from the seed is an argument of `initial` and `step`: so one program serves all seeds.
    """

    step: Step
    initial: Callable[[Any], S]
    """Makes the state before step 0 from `start`; traced."""
    start: Any
    """A pytree of host arrays: keys, images to start from."""
    constants: Any
    """What no step changes, on the device: training data, keys."""
    inputs: Callable[[int, int], Any]
    """(first step, count) -> host arrays with a leading axis of length count; those of bool [count] are choices that
    `branch` takes."""
    steps: int
    bytes_per_step: int = 0
    """What `inputs` holds for a step, where it is much."""
    precision: Precision = "float32"
    """What its networks compute in."""
    milestones: tuple[Milestone[S], ...] = ()
    saved_form: SavedForm[S] | None = None
    """None where a state is saved as it is."""

    def first_state(self) -> S:
        """Return the state before step 0, on the device."""
        return place(compiled(self.initial)(place(self.start)))

"""A loop: its steps, and the milestones between them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from frepo.engine.blocks import Step, block_steps
from frepo.engine.devices import compiled, place
from frepo.engine.phases import Phased
from frepo.spec.architecture import Precision

S = TypeVar("S")


@dataclass(frozen=True)
class Milestone(Generic[S]):
    """Work between steps."""

    steps: tuple[int, ...]
    """Ascending numbers of steps after which it is called; never 0."""
    call: Callable[[S, int], tuple[S, Mapping[str, Any]]]
    """Called with the state and the steps done; returns the state to continue with, and metrics."""


def every(steps: int, of: int) -> tuple[int, ...]:
    """Return every `steps`-th of `of` steps, and the last."""
    return (*range(steps, of, steps), of)


@dataclass(frozen=True)
class SavedForm(Generic[S]):
    """The saved form of a state, if it differs from the loop's own: the same on every backend."""

    initial: Callable[[Any], Any]
    """Makes the saved form of the state before step 0 from the loop's `start`; traced, for its shapes."""
    pack: Callable[[S], Any]
    unpack: Callable[[Any], S]
    """The inverse of `pack`, on host arrays; both keep the bits."""


@dataclass(frozen=True)
class Loop(Generic[S]):
    """A computation of steps as pure functions of (seed, step).

    All that depends on the seed is an argument of `initial` and `step`, so one program serves all seeds.
    """

    step: Step
    initial: Callable[[Any], S]
    """Makes the state before step 0 from `start`; traced."""
    start: Any
    """A pytree of host arrays: keys, images to start from."""
    constants: Any
    """Data on the device that no step changes: training data, keys."""
    inputs: Callable[[int, int], Any]
    """(first step, count) -> host arrays with a leading axis of length count; those of bool [count] are choices for
    `branch`."""
    steps: int
    found: Callable[[Any], Any] | None = None
    """From `start` to the `start` that is used, where that has to be computed: called before step 0 only, never when a
    saved state is resumed."""
    typical: Callable[[int], Any] | None = None
    """(count) -> `inputs` of steps that cost what steps cost on average, if the first ones do not."""
    bytes_per_step: int = 0
    """Size of the `inputs` of a step, if large."""
    precision: Precision = "float32"
    """Precision of its networks."""
    remedy: str = "A smaller learning_rate helps"
    """What to do where its numbers grow beyond all bounds."""
    milestones: tuple[Milestone[S], ...] = ()
    saved_form: SavedForm[S] | None = None
    """None if a state is saved as it is."""

    def first_state(self) -> S:
        """Return the state before step 0, on the device."""
        start = self.found(self.start) if self.found else self.start
        return place(compiled(self.initial)(place(start)))

    @property
    def block_steps(self) -> int:
        """Number of steps that run without a look at the host."""
        return block_steps(self.bytes_per_step, phased=isinstance(self.step, Phased))

    def typical_inputs(self, count: int) -> Any:
        """Return inputs of `count` steps that cost what steps cost on average."""
        return self.typical(count) if self.typical else self.inputs(0, count)

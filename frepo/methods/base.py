"""The interface of methods to the rest of the program: from a job to data, at once or step by step.

The table of a method, in `frepo.spec`, holds everything that can be known without JAX, and names its
`prepare(job) -> Learning | Result`: a `Learning` if images are learned, a `Result` if they are only chosen.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, TypeVar

from flax import struct

from frepo.data.dataset import Dataset
from frepo.engine.loop import Loop
from frepo.plan import DistillStage, Stage
from frepo.runtime import RuntimeOptions

S = TypeVar("S")

Array = Any
"""A JAX array during the computation, a NumPy array before and after it."""


@struct.dataclass
class DistilledData:
    """Distilled images and their labels.

    Attributes:
        images: float32 [num_classes * ipc, h, w, c], class by class, network inputs (preprocessed pixels).
        labels: float32 [num_classes * ipc, num_classes], centred: comparable to one-hot labels minus 1/C.
    """

    images: Array
    labels: Array


class StepConstants(NamedTuple):
    """The inputs that no step changes."""

    images: Any
    """The constants of the `TrainingImages`."""
    key: Array
    """uint32 [2], see `key_data`; with the step number it determines all that a step draws."""


class Job(NamedTuple):
    """A stage, with its data set and the directory of the results that it reads."""

    stage: Stage
    dataset: Dataset
    options: RuntimeOptions

    @property
    def work(self) -> DistillStage:
        """The stage's work: the data to make."""
        work: Any = self.stage.work
        return work


@dataclass(frozen=True)
class Result:
    """The data that a method makes."""

    data: DistilledData
    step: int = 0
    """Number of steps after which the data was in this state."""
    further: Mapping[str, Array] = field(default_factory=dict[str, Array])
    """Further learned arrays, by name, as in `distilled.npz`."""


@dataclass(frozen=True)
class Learning(Generic[S]):
    """A computation that learns images."""

    loop: Loop[S]
    start: DistilledData
    """The data before step 0, as host arrays, for display."""
    shown: Callable[[S], DistilledData]
    """The data of an intermediate state, for display."""
    result: Callable[[S], Result]
    """The result of the last state; its arrays may be on the device."""
    parameters: int
    """Number of learned weights of one network."""

"""What a method is to the rest of the program: from a job to data, at once or step by step.

A method has its table in `frepo.spec.distill`, which says all that is to be known without JAX, and there names its
`prepare(job) -> Learning | Result`: a `Learning` where images are learned, a `Result` where they are only chosen.
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
"""A JAX array on its way through the computation, a NumPy array before and after."""


@struct.dataclass
class DistilledData:
    """Distilled images and their labels.

    Attributes:
        images: float32 [num_classes * ipc, h, w, c], class by class, network inputs (preprocessed pixels).
        labels: float32 [num_classes * ipc, num_classes], centred: one-hot labels minus 1/C are their like.
    """

    images: Array
    labels: Array


class Job(NamedTuple):
    """A stage, with its data set and the place of the results that it needs."""

    stage: Stage
    dataset: Dataset
    options: RuntimeOptions

    @property
    def work(self) -> DistillStage:
        """What is to be made."""
        work: Any = self.stage.work
        return work


@dataclass(frozen=True)
class Result:
    """What a method makes."""

    data: DistilledData
    step: int = 0
    """Steps done when the data was as it is."""
    further: Mapping[str, Array] = field(default_factory=dict[str, Array])
    """Further learned arrays, by their names in `distilled.npz`."""


@dataclass(frozen=True)
class Learning(Generic[S]):
    """How images are learned."""

    loop: Loop[S]
    start: DistilledData
    """Host arrays, as they are shown before step 0."""
    shown: Callable[[S], DistilledData]
    """What is shown of a state along the way."""
    result: Callable[[S], Result]
    """Of the last state; arrays may be on the device."""
    parameters: int
    """Of one network."""

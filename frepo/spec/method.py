"""What every method of making a few labelled images has in common."""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, ClassVar, Literal, NamedTuple, Self

from frepo.spec.table import Table


class Metric(NamedTuple):
    """Presentation, in reports, of a metric of a method's steps."""

    title: str
    axis: str
    logarithmic: bool


class Method(Table):
    """A method of making a few labelled images: everything that the rest of the program knows of it besides its fields.

    Attributes:
        code: module and function of its `prepare`, see `frepo.methods.base`; imported at first use.
        version: of its numerics; raised when its code changes the data that it makes.
        reads: the tables of the spec that it reads besides its own and `[dataset]`.
        learned: where its images are learned; None if they are real images.
        citation: its paper, if images are learned here.
        metrics: the metrics of its steps that reports draw, by name.
    """

    code: ClassVar[str]
    version: ClassVar[int] = 1
    reads: ClassVar[frozenset[Literal["architecture", "pool"]]] = frozenset()
    learned: ClassVar[Literal["here", "elsewhere"] | None] = None
    citation: ClassVar[str] = ""
    metrics: ClassVar[Mapping[str, Metric]] = {}

    def load(self) -> Callable[..., Any]:
        """Return its `prepare`."""
        module, _, name = self.code.partition(":")
        return getattr(import_module(module), name)

    @property
    def feature_epochs(self) -> int | None:
        """Passes over all real images by the network whose features it needs; None if it needs no features."""
        return None

    def resolved(self, dataset: str) -> Self:
        """Return the table resolved for a data set, with the defaults that depend on it."""
        del dataset
        return self

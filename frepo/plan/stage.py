"""Stages, each with a fingerprint of everything that its result depends on, and plans of stages."""

import os
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from frepo.plan.identity import fingerprint
from frepo.plan.kinds import DISTILL, KINDS, StageKind
from frepo.plan.work import OfImages, Work
from frepo.spec import Dataset, ExperimentSpec, without_place


@dataclass(frozen=True)
class Stage:
    """One computation: its work, and the stages whose results it reads."""

    label: str
    work: Work
    needs: tuple["Stage", ...] = ()

    @property
    def kind(self) -> StageKind:
        """The kind of its work."""
        return KINDS[self.work.kind]

    @property
    def data(self) -> tuple["Stage", ...]:
        """The stages among `needs` that make the training data of its networks."""
        return tuple(need for need in self.needs if need.kind is DISTILL)

    @cached_property
    def identity(self) -> dict[str, Any]:
        """Everything that the result depends on, as JSON, and the place of its images, for the reader of a result."""
        return {
            **self.work.model_dump(mode="json"),
            "numerics_version": self.kind.version,
            "needs": [stage.fingerprint for stage in self.needs],
        }

    @cached_property
    def fingerprint(self) -> str:
        """64 hexadecimal digits; equal exactly when the identity is, wherever the images are."""
        return fingerprint(without_place(self.identity))

    @property
    def dataset(self) -> Dataset:
        """The table of the data set that it reads, or that its needed stages read."""
        return self.work.dataset if isinstance(self.work, OfImages) else self.needs[0].dataset

    @property
    def directory(self) -> str:
        """Its name within a run: a link of that name in the run's directory leads to its place."""
        return f"{self.label}-{self.fingerprint[:8]}"

    @property
    def place(self) -> str:
        """Name of the directory that holds its results: the same for every run that asks for it.

        Images of a folder have no name that says which they are: its path tells two such data sets apart.
        """
        path = self.dataset.path
        suffix = "" if path is None else f"-{fingerprint(os.path.abspath(path))[:6]}"  # noqa: PTH100 (not resolved)
        return f"{self.kind.name}-{self.fingerprint[:12]}{suffix}"


@dataclass(frozen=True)
class Plan:
    """The stages of a spec, each after the stages that it needs."""

    spec: ExperimentSpec
    stages: tuple[Stage, ...]

    @property
    def fingerprint(self) -> str:
        """Identity of the whole spec, including its name, wherever the images are."""
        return fingerprint(without_place(self.spec.model_dump(mode="json")))

    @property
    def run_id(self) -> str:
        """Key of the run in the database: the spec's name and the start of its fingerprint."""
        return f"{self.spec.name}-{self.fingerprint[:8]}"


class Source(NamedTuple):
    """Data to train networks on."""

    name: str
    stage: Stage | None
    """None for all real images, which need no stage."""
    epochs: int | None = None

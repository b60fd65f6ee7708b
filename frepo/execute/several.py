"""Several experiments in one command: one that fails stops only what depends on it."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager

from frepo.errors import FrepoError, Interrupted, SpecsFailedError
from frepo.execute.graph import Experiment, Graph
from frepo.execute.job import Job
from frepo.plan import Stage
from frepo.progress import warn

MOST = 20
"""Failures that are named; of more the number is given."""


class Failures:
    """Which experiments have failed, and why; the first failure is raised at once unless the others are to `go_on`.

    Of a `job`, processes tell each other.
    """

    def __init__(self, graph: Graph, *, go_on: bool, job: Job | None = None) -> None:
        self._graph, self._go_on, self._job = graph, go_on, job
        self._found: dict[Experiment, FrepoError] = {}
        """The first failure of each experiment that has failed."""

    @contextmanager
    def of(self, experiment: Experiment) -> Generator[None]:
        """Keep the failure of an experiment that the block works on.

        Raises:
            Interrupted: a signal came: that ends all of them.
        """
        with self._kept([experiment]):
            yield

    @contextmanager
    def of_stage(self, stage: Stage) -> Generator[None]:
        """Keep the failure of a stage that the block works on: it is one of all experiments that ask for it.

        Raises:
            Interrupted: a signal came: that ends all of them.
        """
        with self._kept(self._graph.asking(stage), stage):
            yield

    def learn(self) -> None:
        """Take over what has failed in other processes of the job."""
        if self._job is None:
            return
        for place in self._job.failed():
            stage, failure = self._graph.stage(place), self._job.failure(place)
            if stage and failure:
                self._add(self._graph.asking(stage), failure)

    def left(self) -> list[Experiment]:
        """Return the experiments that have not failed so far."""
        return [experiment for experiment in self._graph.experiments if experiment not in self._found]

    def wanted(self, stage: Stage) -> bool:
        """Return whether an experiment that has not failed asks for `stage`."""
        return any(experiment not in self._found for experiment in self._graph.asking(stage))

    def raise_any(self, run_ids: Sequence[str]) -> None:
        """Sum up, where an experiment has failed and the runs `run_ids` are finished.

        Raises:
            SpecsFailedError: one has.
        """
        if not self._found:
            return
        if not self._go_on:
            raise next(iter(self._found.values()))
        named = list(self._found.items())[:MOST]
        lines = [f"  {self._title(experiment)}: {str(failure).splitlines()[0]}" for experiment, failure in named]
        if len(self._found) > MOST:
            lines.append(f"  and {len(self._found) - MOST} more, which `frepo status` lists")
        total = len(self._graph.experiments)
        text = f"{len(self._found)} of {total} specs failed{', the others are done' if run_ids else ''}:"
        raise SpecsFailedError("\n".join([text, *lines]), run_ids)

    def _title(self, experiment: Experiment) -> str:
        of_a_file = [other for other in self._graph.experiments if other.loaded.path == experiment.loaded.path]
        return f"{experiment.loaded.path}{f' ({experiment.name})' if len(of_a_file) > 1 else ''}"

    @contextmanager
    def _kept(self, experiments: Sequence[Experiment], stage: Stage | None = None) -> Generator[None]:
        try:
            yield
        except Interrupted:
            raise
        except (FrepoError, OSError) as error:
            failure = error if isinstance(error, FrepoError) else _in_words(error)
            if not self._go_on:
                raise failure from None
            if self._job and stage:
                self._job.mark_failed(stage, failure)
            self._add(experiments, failure)

    def _add(self, experiments: Sequence[Experiment], failure: FrepoError) -> None:
        new = [experiment for experiment in experiments if experiment not in self._found]
        if new and self._go_on and len(self._found) < MOST:
            more = f" (and {len(new) - 1} more)" if len(new) > 1 else ""
            warn(f"{self._title(new[0])}{more}: {failure}")
        self._found.update(dict.fromkeys(new, failure))


def _in_words(error: OSError) -> FrepoError:
    return FrepoError(f"{error}; what was saved before is intact, run the same command again to go on")

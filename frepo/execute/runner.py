"""Running experiments: check all of them, record them, compute what is not done, and bring the database up to date."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from frepo.errors import FrepoError, Interrupted
from frepo.execute.graph import Experiment, Graph
from frepo.execute.index import bring_up
from frepo.execute.sameness import DataOfToday
from frepo.execute.several import Failures
from frepo.plan import Stage
from frepo.progress import note
from frepo.rundir.directory import (
    LOCK_PATIENCE_SECONDS,
    StageBusyError,
    make_directory,
    record_run,
    set_damaged_aside,
    set_run_aside,
)
from frepo.rundir.layout import stage_directory, take_over
from frepo.rundir.status import damage, is_done
from frepo.rundir.tensorboard import write_events
from frepo.runtime import RuntimeOptions
from frepo.signals import raise_if_stopping, stop_on_signals
from frepo.spec import Dataset, LoadedSpec
from frepo.store.connect import DatabaseBusyError

if TYPE_CHECKING:
    from frepo.data.dataset import DatasetInfo
    from frepo.execute.executor import Executor

FEW = 20
"""Of what is done already so much is named, more is counted."""


def run(
    specs: Sequence[LoadedSpec], options: RuntimeOptions, *, fresh: bool = False, executor: "Executor | None" = None
) -> list[str]:
    """Run specs and return the ids of the runs that are done; none where the first of several processes records them.

    With `fresh`, results that exist are set aside first instead of being used. All are checked before the first one
    starts; of several, one that fails stops only what depends on it. `executor` computes the stages; this process
    where it is None.

    Raises:
        Interrupted: a signal came; what was computed is saved.
        SpecsFailedError: some of several specs failed; it names the runs that are finished.
        FrepoError: a stage failed, or nothing could start (then nothing was written).
    """
    graph = Graph(specs)
    if options.processes is None:
        return _run(graph, options, executor, fresh=fresh)
    from frepo.engine.processes import join, letting_none_wait

    is_first = join(options.processes)
    with letting_none_wait():
        if is_first:
            return _run(graph, options, executor, fresh=fresh)
        from frepo.execute.following import follow

        follow(graph, options)
        return []


def _run(graph: Graph, options: RuntimeOptions, executor: "Executor | None", *, fresh: bool) -> list[str]:
    make_directory(options.runs_dir)
    with suppress(DatabaseBusyError):  # a database that cannot be written is better found now than after a day
        bring_up(options, (), patience=0.0)
    with stop_on_signals():
        return _Run(graph, options, executor).run(fresh=fresh)


class _Run:
    """One invocation."""

    def __init__(self, graph: Graph, options: RuntimeOptions, executor: "Executor | None") -> None:
        self._graph, self._options, self._executor = graph, options, executor
        self._together = options.processes is not None
        # Processes that compute together cannot go on without the others: there the first failure ends all.
        self._failures = Failures(graph, go_on=len(graph.experiments) > 1 and not self._together)
        self._data = DataOfToday(options)
        self._facts: dict[str, DatasetInfo] = {}
        """Of the data of stages, by their places."""

    def run(self, *, fresh: bool) -> list[str]:
        self._each(lambda experiment: take_over(experiment.plan, self._options.runs_dir))
        wanted = self._graph.stages if fresh else self._pending(self._graph.stages)
        self._fetch(wanted)
        if not self._together:  # before anything is set aside
            self._check(wanted, fresh=fresh)
        self._set_aside(wanted, fresh=fresh)
        self._meet("set aside")
        pending = self._pending(wanted)
        self._meet("known")
        self._check(pending, fresh=fresh)
        raise_if_stopping()
        self._each(lambda experiment: record_run(experiment.plan, experiment.loaded, self._options))
        self._say_what_is_done(pending)
        return self._finish(self._compute(pending) if pending else frozenset())

    def _pending(self, stages: Sequence[Stage]) -> list[Stage]:
        """Return those of `stages` that are not done; the results of the others are read to know it.

        Large ones are read where a stage that is not done needs them.
        """
        found: set[str] = set()
        for stage in stages:
            with self._failures.of_stage(stage):
                if not is_done(stage, self._options.runs_dir):
                    found.add(stage.place)
        needed = {need.place for stage in stages if stage.place in found for need in stage.needs}
        for stage in stages:
            if stage.place in needed - found:
                with self._failures.of_stage(stage):
                    if damage(stage, self._options.runs_dir, whole=True):
                        found.add(stage.place)
        return [stage for stage in stages if stage.place in found and self._failures.wanted(stage)]

    def _fetch(self, stages: Sequence[Stage]) -> None:
        """Fetch the data sets of stages that are not there, each once."""
        if self._options.offline or not stages:
            return
        from frepo.data.prepare import fetch_missing  # not before it is needed: this takes a while

        failed: dict[Dataset, FrepoError] = {}
        for stage in stages:
            table = stage.dataset.as_stored()
            with self._failures.of_stage(stage):
                if table in failed:
                    raise failed[table]
                try:
                    fetch_missing(table, self._options.tfds_dir)
                except FrepoError as error:
                    failed[table] = error
                    raise

    def _check(self, pending: Sequence[Stage], *, fresh: bool) -> None:
        """Hold stages against their data, and the data against that of results that exist."""
        unknown = [stage for stage in pending if stage.place not in self._facts and self._failures.wanted(stage)]
        if unknown:
            from frepo.execute import stages  # JAX starts here, so that finished specs are recognised without it

            if self._executor is None:
                stages.prepare_jax(self._options)
            else:
                stages.leave_devices()
            for stage in unknown:
                with self._failures.of_stage(stage):
                    self._facts[stage.place] = self._data.facts(stage)
                    stages.check(stage, self._options)
        if not fresh:
            self._each(lambda experiment: self._data.must_be_that_of_before(experiment.plan, self._facts))

    def _set_aside(self, wanted: Sequence[Stage], *, fresh: bool) -> None:
        if fresh:
            self._each(lambda experiment: set_run_aside(experiment.plan, self._options.runs_dir))
            return
        for stage in wanted:
            with self._failures.of_stage(stage), suppress(StageBusyError):
                set_damaged_aside(stage, self._options.runs_dir)

    def _say_what_is_done(self, pending: Sequence[Stage]) -> None:
        left = {stage.place for stage in pending}
        done = [experiment for experiment in self._failures.left() if not experiment.places & left]
        for experiment in done[:FEW]:
            note(f"{experiment.plan.run_id} is finished already: nothing to compute (--fresh computes it again)")
        if len(done) > FEW:
            note(f"and {len(done) - FEW} more are")
        ready = [stage for stage in self._graph.stages if stage.place not in left]
        if pending and len(ready) <= FEW:
            for stage in ready:
                note(f"{self._graph.title(stage)}: done already")
        elif pending:
            note(f"{len(ready)} of {len(self._graph.stages)} stages are done already")

    def _compute(self, pending: Sequence[Stage]) -> frozenset[str]:
        from frepo.execute.executor import InProcess, Work

        executor = self._executor or InProcess()
        try:
            return executor.compute(Work(self._graph, pending, self._failures, self._options, self._data, self._facts))
        except Interrupted:
            with suppress(FrepoError):  # of processes that executors start, none but this one writes the database
                bring_up(self._options, self._names(), LOCK_PATIENCE_SECONDS)
            raise

    def _finish(self, queued: frozenset[str]) -> list[str]:
        finished = [experiment for experiment in self._failures.left() if not experiment.places & queued]
        if self._options.tensorboard:
            for experiment in finished:
                for stage in experiment.plan.stages:
                    write_events(stage_directory(stage, self._options.runs_dir))
        bring_up(self._options, self._names(), patience=None)
        run_ids = [experiment.plan.run_id for experiment in finished]
        self._failures.raise_any(run_ids)
        return run_ids

    def _names(self) -> list[str]:
        return [experiment.name for experiment in self._graph.experiments]

    def _each(self, action: Callable[[Experiment], None]) -> None:
        for experiment in self._failures.left():
            with self._failures.of(experiment):
                action(experiment)

    def _meet(self, place: str) -> None:
        if self._together:
            from frepo.engine.processes import meet

            meet(place)

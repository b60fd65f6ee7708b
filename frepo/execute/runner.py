"""Walking a plan: skip what is done, resume what is not, record what was done."""

import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frepo.errors import FrepoError, Interrupted
from frepo.execute.sameness import DataOfToday
from frepo.execute.several import Failures
from frepo.execute.sharing import share
from frepo.plan import Plan, Stage, compile_plan
from frepo.progress import note, warn
from frepo.rundir import record
from frepo.rundir.directory import (
    LOCK_PATIENCE_SECONDS,
    StageBusyError,
    locked,
    make_directory,
    record_run,
    set_damaged_aside,
    set_run_aside,
)
from frepo.rundir.files import sync
from frepo.rundir.provenance import now, peak_host_bytes, provenance
from frepo.rundir.record import Attempt, StageRecord
from frepo.rundir.status import is_done
from frepo.rundir.tensorboard import event_file, write_events
from frepo.runtime import RuntimeOptions
from frepo.signals import raise_if_stopping, stop_on_signals
from frepo.spec import LoadedSpec
from frepo.store.connect import DatabaseBusyError
from frepo.store.ingest import ingest

if TYPE_CHECKING:
    from frepo.data.dataset import DatasetInfo


def run(specs: Sequence[LoadedSpec], options: RuntimeOptions, *, fresh: bool = False) -> list[str]:
    """Run specs one after the other and return their run ids; none where the first of several processes records them.

    With `fresh`, results that exist are set aside first instead of being used. Of several specs all are checked before
    the first one starts, and one that fails does not keep the others from being computed.

    Raises:
        Interrupted: a signal came; what was computed is saved.
        SpecsFailedError: some of several specs failed; it names the runs that are finished.
        FrepoError: a stage failed, or nothing could start (then nothing was written).
    """
    if options.processes is not None:
        from frepo.engine.processes import join

        if not join(options.processes):
            from frepo.execute.following import follow

            follow(specs, options)
            return []
    make_directory(options.runs_dir)
    with suppress(DatabaseBusyError):  # a database that cannot be written is better found now than after a day
        _ingest(options, (), patience=0.0)
    with stop_on_signals():
        return _run_all(specs, options, fresh=fresh)


def _run_all(specs: Sequence[LoadedSpec], options: RuntimeOptions, *, fresh: bool) -> list[str]:
    data = DataOfToday(options)
    # Processes that compute together cannot go on without the others: there the first failure ends all.
    failures = Failures(go_on=len(specs) > 1 and options.processes is None)
    if options.processes is None and (len(specs) > 1 or fresh):
        for loaded in specs:
            with failures.of(loaded):
                _check_spec(loaded, options, data, fresh=fresh)
    if fresh:
        for loaded in failures.left(specs):
            with failures.of(loaded):
                plan = compile_plan(loaded.spec)
                set_run_aside(plan, options.runs_dir / plan.spec.name)
    run_ids: list[str] = []
    for loaded in failures.left(specs):
        with failures.of(loaded):
            run_ids.append(_run_spec(loaded, options, data))
    failures.raise_any(run_ids)
    return run_ids


def _check_spec(loaded: LoadedSpec, options: RuntimeOptions, data: DataOfToday, *, fresh: bool) -> None:
    plan = compile_plan(loaded.spec)
    directory = options.runs_dir / plan.spec.name
    pending = [stage for stage in plan.stages if fresh or not is_done(stage, directory)]
    facts: dict[str, DatasetInfo] = {}
    if pending:
        from frepo.execute import stages

        stages.prepare_jax(options)
        facts = _checked(pending, options, data)
    if not fresh:
        data.must_be_that_of_before(plan, facts, directory)


def _checked(pending: Sequence[Stage], options: RuntimeOptions, data: DataOfToday) -> "dict[str, DatasetInfo]":
    """Return the facts of the data of stages by their fingerprints, after holding the stages against them."""
    from frepo.execute import stages

    facts = {stage.fingerprint: data.facts(stage) for stage in pending}
    for stage in pending:
        stages.check(stage, options)
    return facts


def _run_spec(loaded: LoadedSpec, options: RuntimeOptions, data: DataOfToday) -> str:
    plan = compile_plan(loaded.spec)
    directory = options.runs_dir / plan.spec.name
    for stage in plan.stages:
        with suppress(StageBusyError):
            set_damaged_aside(stage, directory)
    _meet(options, "set aside")
    pending = [stage for stage in plan.stages if not is_done(stage, directory)]
    _meet(options, "known")
    if pending:
        _run_pending(plan, pending, loaded, directory, options, data)
    else:
        data.must_be_that_of_before(plan, {}, directory)
        note(f"{plan.run_id} is finished already: nothing to compute (--fresh computes it again)")
        record_run(plan, loaded, directory, options)
    if options.tensorboard:
        for stage in plan.stages:
            write_events(directory / stage.directory)
    _ingest(options, [plan.spec.name], patience=None)
    return plan.run_id


def _run_pending(
    plan: Plan,
    pending: Sequence[Stage],
    loaded: LoadedSpec,
    directory: Path,
    options: RuntimeOptions,
    data: DataOfToday,
) -> None:
    from frepo.execute import stages  # JAX starts here, so that a finished spec is recognised without it

    device = stages.prepare_jax(options)
    facts = _checked(pending, options, data)
    data.must_be_that_of_before(plan, facts, directory)
    raise_if_stopping()
    make_directory(directory)
    record_run(plan, loaded, directory, options)
    position = {
        stage.fingerprint: f"[{number}/{len(plan.stages)}]" for number, stage in enumerate(plan.stages, start=1)
    }

    def say(stage: Stage, what: str) -> None:
        note(f"{position[stage.fingerprint]} {plan.spec.name}/{stage.directory}: {what}")

    def work_on(stage: Stage) -> None:
        raise_if_stopping()
        info, place = facts[stage.fingerprint].to_json(), position[stage.fingerprint]
        _run_stage(stage, directory, options, info, data.files(stage), device, loaded.path, place, say)
        _meet(options, stage.directory)

    for stage in plan.stages:
        if stage not in pending:
            say(stage, "done already")
    if options.share:
        share(pending, directory, work_on, say)
    else:
        for stage in pending:
            work_on(stage)


def _meet(options: RuntimeOptions, place: str) -> None:
    if options.processes is not None:
        from frepo.engine.processes import meet

        meet(place)


def _run_stage(
    stage: Stage,
    run_directory: Path,
    options: RuntimeOptions,
    dataset: dict[str, Any],
    files: str | None,
    device: str,
    spec: Path,
    position: str,
    say: Callable[[Stage, str], None],
) -> None:
    from frepo.engine.journal import Journal
    from frepo.execute import stages

    directory = run_directory / stage.directory
    make_directory(directory)
    with locked(directory, 0.0 if options.share else LOCK_PATIENCE_SECONDS):
        if is_done(stage, run_directory):
            say(stage, "done by another process")
            return
        say(stage, f"starts on {device}")
        with event_file(directory, wanted=options.tensorboard) as events:
            log = _StageLog(stage, directory, dataset, device, spec, options)
            log.files = files

            def saved(step: int, steps: int) -> None:
                log.saved(journal.first_step, step, steps)
                _ingest_if_free(options, run_directory.name)

            journal = Journal(
                directory,
                stage.directory,
                options.checkpoint_every,
                options.log_every,
                saved,
                position,
                events,
                recorded_step=log.step,
            )
            log.write("running")
            try:
                stages.execute(stage, run_directory, options, journal)
                if events:
                    events.add_images(journal.images)
            except (FrepoError, OSError) as error:
                with suppress(OSError):  # a full disk has no room for the record either
                    status = "stopped" if isinstance(error, Interrupted) else "failed"
                    log.finish(status, journal.first_step, journal.saved_step, stages.peak_device_bytes())
                    _ingest_if_free(options, run_directory.name, LOCK_PATIENCE_SECONDS)
                raise
            sync(directory / record.METRICS)
            log.images, log.results = tuple(journal.images), journal.results
            log.finish("done", journal.first_step, journal.last_step, stages.peak_device_bytes())
        shutil.rmtree(directory / record.STATE, ignore_errors=True)
    _ingest_if_free(options, run_directory.name)


class _StageLog:
    """The record of a stage while this process works on it."""

    def __init__(
        self,
        stage: Stage,
        directory: Path,
        dataset: dict[str, Any],
        device: str,
        spec: Path,
        options: RuntimeOptions,
    ) -> None:
        from frepo.engine.environment import numerics

        previous = record.read_stage(directory)
        self._path = directory / record.STAGE_FILE
        self._earlier = previous.attempts if previous else ()
        here = {**provenance(spec, options), "numerics": numerics()}
        self._attempt = Attempt(started=now(), device=device, provenance=here)
        self._stage, self._dataset = stage, dataset
        self.step, self._steps = (previous.step, previous.steps) if previous else (0, None)
        self.images: tuple[record.ImageSheet, ...] = ()
        self.results: dict[str, record.ResultFile] = {}
        self.files: str | None = None

    def write(self, status: record.Status) -> None:
        stage_record = StageRecord(
            fingerprint=self._stage.fingerprint,
            identity=self._stage.identity,
            label=self._stage.label,
            status=status,
            step=self.step,
            steps=self._steps,
            dataset=self._dataset,
            attempts=(*self._earlier, self._attempt),
            images=self.images,
            results=self.results,
            data_files=self.files,
        )
        record.write_record(self._path, stage_record)

    def saved(self, first_step: int, step: int, steps: int) -> None:
        """Write what a saved state holds."""
        self.step, self._steps = step, steps
        self._attempt = self._attempt.model_copy(update={"first_step": first_step, "last_step": step})
        self.write("running")

    def finish(self, status: record.Status, first_step: int, last_step: int | None, peak_device: int | None) -> None:
        """Write how the attempt ended; `last_step` is None where it never came to know what is saved."""
        self.step = self.step if last_step is None else last_step
        self._attempt = self._attempt.model_copy(
            update={
                "ended": now(),
                "first_step": first_step,
                "last_step": last_step,
                "peak_host_bytes": peak_host_bytes(),
                "peak_device_bytes": peak_device,
            }
        )
        self.write(status)


def _ingest_if_free(options: RuntimeOptions, name: str, patience: float = 0.0) -> None:
    """Bring the database up to date unless somebody else has it open: the next time, or `frepo ingest`, catches up."""
    try:
        with suppress(DatabaseBusyError):
            _ingest(options, [name], patience)
    except FrepoError as error:
        _warn_once(str(error))


def _ingest(options: RuntimeOptions, names: Sequence[str], patience: float | None) -> None:
    for problem in ingest(options.database, options.runs_dir, names, patience=patience).problems:
        _warn_once(problem)


_warn_once = cache(warn)
"""What is damaged is met at every checkpoint."""

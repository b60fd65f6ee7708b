"""Walking a plan: skip what is done, resume what is not, record what was done."""

import shutil
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from frepo import record
from frepo.errors import FrepoError, Interrupted
from frepo.outlook import is_done
from frepo.plan import Plan, Stage, compile_plan
from frepo.progress import note, warn
from frepo.provenance import now, peak_host_bytes, provenance
from frepo.record import Attempt, RunRecord, StageRecord
from frepo.runtime import RuntimeOptions
from frepo.signals import raise_if_stopping, stop_on_signals
from frepo.spec import LoadedSpec
from frepo.store.connect import DatabaseBusyError
from frepo.store.ingest import ingest
from frepo.tensorboard import event_file, write_events

LOCK_PATIENCE_SECONDS = 2.0
WAIT_SECONDS = 1.0
"""Between two looks at stages that other processes work on."""


class StageBusyError(FrepoError):
    """Another process works on a stage."""


def run(specs: Sequence[LoadedSpec], options: RuntimeOptions, *, fresh: bool = False) -> list[str]:
    """Run specs one after the other and return their run ids; none where the first of several processes records them.

    With `fresh`, results that exist are set aside first instead of being used.

    Raises:
        Interrupted: a signal came; what was computed is saved.
        FrepoError: a stage failed, or nothing could start (then nothing was written).
    """
    if options.processes is not None:
        from frepo.processes import join

        if not join(options.processes):
            from frepo.following import follow

            follow(specs, options)
            return []
    _make_directory(options.runs_dir)
    with suppress(DatabaseBusyError):  # a database that cannot be written is better found now than after a day
        _ingest(options, (), patience=0.0)
    try:
        with stop_on_signals():
            return [_run_spec(loaded, options, fresh=fresh) for loaded in specs]
    except OSError as error:
        raise FrepoError(f"{error}; what was saved before is intact, run the same command again to go on") from None


def _run_spec(loaded: LoadedSpec, options: RuntimeOptions, *, fresh: bool) -> str:
    plan = compile_plan(loaded.spec)
    directory = options.runs_dir / plan.spec.name
    if fresh:
        _set_aside(plan, directory)
    _meet(options, "set aside")
    pending = [stage for stage in plan.stages if not is_done(stage, directory)]
    _meet(options, "known")
    if not pending:
        note(f"{plan.run_id} is finished already: nothing to compute (--fresh computes it again)")
    else:
        _run_pending(plan, pending, loaded, directory, options)
    if options.tensorboard:
        for stage in plan.stages:
            write_events(directory / stage.directory)
    _ingest(options, [plan.spec.name], patience=None)
    return plan.run_id


def _run_pending(
    plan: Plan, pending: Sequence[Stage], loaded: LoadedSpec, directory: Path, options: RuntimeOptions
) -> None:
    from frepo import stages  # JAX starts here, so that a finished spec is recognised without it

    device = stages.prepare_jax(options)
    facts = {stage.fingerprint: stages.check(stage, options).to_json() for stage in pending}
    _data_must_be_that_of_before(plan, facts, directory, options)
    raise_if_stopping()
    _make_directory(directory)
    _record_run(plan, loaded, directory, options)
    position = {
        stage.fingerprint: f"[{number}/{len(plan.stages)}]" for number, stage in enumerate(plan.stages, start=1)
    }

    def say(stage: Stage, what: str) -> None:
        note(f"{position[stage.fingerprint]} {plan.spec.name}/{stage.directory}: {what}")

    def work_on(stage: Stage) -> None:
        raise_if_stopping()
        say(stage, f"starts on {device}")
        facts_of_stage, place = facts[stage.fingerprint], position[stage.fingerprint]
        _run_stage(stage, directory, options, facts_of_stage, device, loaded.path, place)
        _meet(options, stage.directory)

    for stage in plan.stages:
        if stage not in pending:
            say(stage, "done already")
    if options.share:
        _share(pending, directory, work_on)
    else:
        for stage in pending:
            work_on(stage)


def _share(pending: Sequence[Stage], directory: Path, work_on: Callable[[Stage], None]) -> None:
    """Work on the stages that no other process works on, as soon as what they need is done, until all are."""
    left = list(pending)
    while left:
        raise_if_stopping()
        left = [stage for stage in left if not is_done(stage, directory)]
        ready = [stage for stage in left if all(is_done(need, directory) for need in stage.needs)]
        if not any(_taken_and_done(stage, work_on) for stage in ready) and left:
            time.sleep(WAIT_SECONDS)


def _taken_and_done(stage: Stage, work_on: Callable[[Stage], None]) -> bool:
    try:
        work_on(stage)
    except StageBusyError:
        return False
    return True


def _meet(options: RuntimeOptions, place: str) -> None:
    if options.processes is not None:
        from frepo.processes import meet

        meet(place)


def _data_must_be_that_of_before(
    plan: Plan, facts: dict[str, dict[str, Any]], directory: Path, options: RuntimeOptions
) -> None:
    """Refuse to go on from, or to build on, results of other images than those of today."""
    from frepo.stages import facts_of

    for stage in plan.stages:
        found = record.read_stage(directory / stage.directory)
        if found is None or found.dataset is None:
            continue
        today = facts[stage.fingerprint] if stage.fingerprint in facts else facts_of(stage, options).to_json()
        if found.dataset["fingerprint"] != today["fingerprint"]:
            raise FrepoError(
                f"{directory / stage.directory} was computed from other images: data set {today['name']} has changed "
                "since; use the data of then, give the spec another name, or compute all of it again with --fresh"
            )


def _run_stage(
    stage: Stage,
    run_directory: Path,
    options: RuntimeOptions,
    dataset: dict[str, Any],
    device: str,
    spec: Path,
    position: str,
) -> None:
    from frepo import stages
    from frepo.journal import Journal

    directory = run_directory / stage.directory
    _make_directory(directory)
    with _locked(directory, 0.0 if options.share else LOCK_PATIENCE_SECONDS):
        if is_done(stage, run_directory):
            return  # another process finished it while this one was busy
        with event_file(directory, wanted=options.tensorboard) as events:
            log = _StageLog(stage, directory, dataset, device, spec, options)

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
            log.images = tuple(journal.images)
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
        from frepo.environment import numerics

        previous = record.read_stage(directory)
        self._path = directory / record.STAGE_FILE
        self._earlier = previous.attempts if previous else ()
        here = {**provenance(spec, options), "numerics": numerics()}
        self._attempt = Attempt(started=now(), device=device, provenance=here)
        self._stage, self._dataset = stage, dataset
        self.step, self._steps = (previous.step, previous.steps) if previous else (0, None)
        self.images: tuple[record.ImageSheet, ...] = ()

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


def _run_file(plan: Plan, directory: Path) -> Path:
    return directory / f"run-{plan.fingerprint[:8]}.json"


def _record_run(plan: Plan, loaded: LoadedSpec, directory: Path, options: RuntimeOptions) -> None:
    """Record a run; one that is recorded keeps its record unless that names other stages or places."""
    path = _run_file(plan, directory)
    earlier = record.read_run(path)
    run_record = RunRecord(
        run_id=plan.run_id,
        name=plan.spec.name,
        fingerprint=plan.fingerprint,
        spec=plan.spec.model_dump(mode="json"),
        spec_file=str(loaded.path),
        spec_text=loaded.text,
        overrides=loaded.overrides,
        stages=tuple(stage.directory for stage in plan.stages),
        created=earlier.created if earlier else now(),
        provenance=provenance(loaded.path, options),
    )
    if earlier is None or (earlier.spec, earlier.stages) != (run_record.spec, run_record.stages):
        record.write_record(path, run_record)


def _set_aside(plan: Plan, directory: Path) -> None:
    """Rename the directories of a plan's stages, so that nothing is lost and nothing is used."""
    for stage in plan.stages:
        path = directory / stage.directory
        if path.exists():
            with _locked(path):
                aside = next(
                    candidate
                    for number in range(1, 10_000)
                    if not (candidate := directory / f".{stage.directory}.replaced-{number}").exists()
                )
                path.rename(aside)
            note(f"set aside {path} as {aside.name}")
    _run_file(plan, directory).unlink(missing_ok=True)  # the run begins anew; the stages that went aside keep theirs


@contextmanager
def _locked(directory: Path, patience: float = LOCK_PATIENCE_SECONDS) -> Generator[None]:
    lock = FileLock(directory / record.LOCK)
    try:
        lock.acquire(timeout=patience)
    except Timeout:
        raise StageBusyError(
            f"another process is working on {directory}; wait for it, give the spec another name, or work along with "
            "it: --share"
        ) from None
    try:
        yield
    finally:
        lock.release()


def _make_directory(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
        (path / ".writable").touch()
        (path / ".writable").unlink(missing_ok=True)
    except OSError as error:
        raise FrepoError(
            f"the run directory {path} cannot be written: {error.strerror}; name another with --runs-dir"
        ) from None


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

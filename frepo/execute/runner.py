"""Walking a plan: skip what is done, resume what is not, record what was done."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from frepo.execute.index import bring_up
from frepo.execute.sameness import DataOfToday
from frepo.execute.several import Failures
from frepo.execute.sharing import share
from frepo.execute.stage import Found, run_stage
from frepo.plan import Plan, Stage, compile_plan
from frepo.progress import note
from frepo.rundir.directory import (
    StageBusyError,
    make_directory,
    record_run,
    set_damaged_aside,
    set_run_aside,
)
from frepo.rundir.status import is_done
from frepo.rundir.tensorboard import write_events
from frepo.runtime import RuntimeOptions
from frepo.signals import raise_if_stopping, stop_on_signals
from frepo.spec import LoadedSpec
from frepo.store.connect import DatabaseBusyError

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
        bring_up(options, (), patience=0.0)
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
    bring_up(options, [plan.spec.name], patience=None)
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
        found = Found(info, data.files(stage), device, loaded.path)
        run_stage(stage, directory, options, found, place, lambda what: say(stage, what))
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

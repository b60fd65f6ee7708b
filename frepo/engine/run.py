"""Running a loop from the start, or from a saved state, to the last step, with metrics and saved states."""

from bisect import bisect_right
from collections.abc import Callable
from typing import Any, TypeVar

import jax

from frepo.engine.blocks import BlockRunner
from frepo.engine.cost import peak_flops
from frepo.engine.devices import place
from frepo.engine.finite import Finite
from frepo.engine.journal import Journal
from frepo.engine.loop import Loop
from frepo.engine.prefetch import prefetched
from frepo.engine.processes import any_process, first_goes_first
from frepo.progress import step_progress
from frepo.signals import raise_if_stopping, stopping

S = TypeVar("S")


def run_steps(loop: Loop[S], journal: Journal) -> S:
    """Return the state after all steps, from the newest saved state or from the start.

    Milestones of the resumed step are called again: the process may have ended before their results were written.

    Raises:
        Interrupted: a signal came; the state is saved, or held by the journal.
        DivergedError: a metric or the state is not finite; such a state is never saved.
        FrepoError: the saved state cannot be used.
    """
    steps, runner, finite = loop.steps, BlockRunner(loop.step), Finite(loop, journal)
    step, state = _start(loop, journal)
    size = loop.block_steps
    most = _steps_at_peak(loop, runner, state)
    with (
        step_progress(journal.label, step, steps, most, journal.position) as progress,
        prefetched(loop.inputs) as inputs,
    ):
        if step:
            state = _pass_milestones(loop, journal, finite, state, step)
        while step < steps:
            journal.release()
            end = _block_end(loop, step, size)
            ahead = _block_end(loop, end, size)
            state, metrics = runner(state, loop.constants, inputs(step, end, ahead), _stop_or_save(journal, step))
            for done, values in enumerate(jax.device_get(metrics), start=step):
                found = finite.metrics(done, values)
                if journal.logs(done, steps):
                    journal.log(done, found)
            step += len(metrics)
            journal.last_step = step
            state = _pass_milestones(loop, journal, finite, state, step)
            progress.update(step, journal.newest)
            stop, save = any_process(stopping(), journal.save_is_due(step))
            if step < steps and (stop or save):
                journal.save(step, steps, _to_save(loop, finite, state, step))
                if stop:
                    raise_if_stopping("another process")
    finite.state(steps, state)
    return state


def _start(loop: Loop[S], journal: Journal) -> tuple[int, S]:
    """Return (steps done, state) to begin with, on the device."""
    form = loop.saved_form
    like = jax.eval_shape(form.initial if form else loop.initial, loop.start)
    restored = first_goes_first(lambda: journal.restore(like, loop.steps), "restored")
    if restored is None:
        return 0, loop.first_state()
    step, saved = restored
    return step, place(form.unpack(saved) if form else saved)


def _to_save(loop: Loop[S], finite: Finite, state: S, step: int) -> Any:
    finite.state(step, state)
    return loop.saved_form.pack(state) if loop.saved_form else state


def _pass_milestones(loop: Loop[S], journal: Journal, finite: Finite, state: S, step: int) -> S:
    """Return the state after the milestones of `step`; a signal during or after one of them loses nothing."""
    due = [milestone for milestone in loop.milestones if step in milestone.steps]
    if due:
        finite.state(step, state)
    journal.hold(step, loop.steps, lambda: _to_save(loop, finite, state, step))
    for milestone in due:
        state, values = milestone.call(state, step)
        journal.log(step - 1, finite.metrics(step - 1, values))
    return state


def _block_end(loop: Loop[Any], step: int, size: int) -> int:
    ends = [step - step % size + size, loop.steps]
    for milestone in loop.milestones:
        ends.extend(milestone.steps[bisect_right(milestone.steps, step) :][:1])
    return min(ends)


def _steps_at_peak(loop: Loop[Any], runner: BlockRunner, state: Any) -> float | None:
    """Return the steps per second at the devices' published peak, or None if it is unknown."""
    peak = peak_flops(jax.devices()[0].device_kind, loop.precision)
    if peak is None:
        return None
    return peak * jax.device_count() / runner.flops_per_step(state, loop.constants, loop.typical_inputs(1))


def _stop_or_save(journal: Journal, first: int) -> Callable[[int], bool]:
    """Return a condition that ends a host loop early: a signal, or a due save after at least one step.

    Several processes end only together.
    """
    if jax.process_count() > 1:
        return lambda _: False
    return lambda done: stopping() or (done > 0 and journal.save_is_due(first + done))

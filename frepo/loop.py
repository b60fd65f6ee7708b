"""From the start, or from a saved state, to the last step: block after block, with metrics and saved states."""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import numpy as np

from frepo.blocks import BlockRunner, block_steps
from frepo.journal import Journal
from frepo.progress import step_progress
from frepo.signals import raise_if_stopping, stopping

S = TypeVar("S")

Inputs = Callable[[int, int], tuple[Any, np.ndarray]]
"""(first step, count) -> host arrays with a leading axis of length count, and the choices bool [count]."""


def run_steps(
    runner: BlockRunner, initial: Callable[[], S], constants: Any, inputs: Inputs, steps: int, journal: Journal
) -> S:
    """Return the state after `steps` steps, from the newest saved state or from `initial()`.

    Raises:
        Interrupted: a signal came; the state is saved.
        FrepoError: a metric is not finite.
    """
    restored = journal.restore(jax.eval_shape(initial))
    step, state = restored if restored else (0, initial())
    state = jax.device_put(state)
    size = block_steps()
    with step_progress(journal.label, step, steps) as progress:
        while step < steps:
            count = min(size - step % size, steps - step)
            state, metrics = runner(state, constants, *inputs(step, count), _stop_or_save(journal, step))
            for done, values in enumerate(metrics, start=step):
                if journal.logs(done, steps):
                    journal.log(done, {name: float(value) for name, value in values.items()})
            step += len(metrics)
            journal.last_step = step
            progress.update(step)
            if step < steps and (stopping() or journal.save_is_due(step)):
                journal.save(step, steps, state)
                raise_if_stopping()
    return state


def _stop_or_save(journal: Journal, first: int) -> Callable[[], bool]:
    """Return what ends a host loop early: a signal, or a state that is due."""
    step = first - 1

    def ends() -> bool:
        nonlocal step
        step += 1
        return stopping() or (step > first and journal.save_is_due(step))

    return ends

"""What the stages of a plan would cost on this machine, and how that is shown."""

from collections.abc import Sequence
from typing import Any

from frepo.execute import stages
from frepo.progress import duration, note
from frepo.rundir.status import StageOutlook
from frepo.runtime import RuntimeOptions
from frepo.store.text import Rows, format_rows

Estimates = dict[str, dict[str, Any] | None]
"""Cost as JSON by stage directory; None where a stage is done or has no steps."""

COLUMNS = ("stage", "parameters", "GFLOP/step", "device memory", "steps/s", "steps left", "time left")


def estimate(outlooks: Sequence[StageOutlook], options: RuntimeOptions) -> Estimates:
    """Time a few steps of each stage that is not done.

    Raises:
        FrepoError: the data is not there or a stage does not fit it.
    """
    device = stages.prepare_jax(options)
    found: Estimates = {}
    for entry in outlooks:
        note(f"{entry.stage.directory}: {'done' if entry.status == 'done' else f'timing a few steps on {device}'}")
        cost = None if entry.status == "done" else stages.cost(entry.stage, options)
        if cost is None:
            found[entry.stage.directory] = None
            continue
        steps = cost.steps - entry.step
        seconds = cost.compile_seconds + steps * cost.seconds_per_step
        found[entry.stage.directory] = {**cost.to_json(), "steps_left": steps, "seconds_left": seconds}
    return found


def estimate_text(estimates: Estimates) -> str:
    """Return a table and the sum of the times; data sets are loaded and networks scored besides."""
    rows: list[tuple[Any, ...]] = []
    for directory, cost in estimates.items():
        if cost is None:
            rows.append((directory, *[None] * (len(COLUMNS) - 1)))
            continue
        rows.append(
            (
                directory,
                cost["parameters"],
                round(cost["flops_per_step"] / 1e9, 3),
                _size(cost["peak_device_bytes"]),
                round(1 / cost["seconds_per_step"], 2),
                cost["steps_left"],
                duration(cost["seconds_left"]),
            )
        )
    total = sum(cost["seconds_left"] for cost in estimates.values() if cost)
    table = format_rows(Rows(COLUMNS, tuple(rows)), "table")
    return f"{table}about {duration(total)} in all, besides loading data and scoring networks\n"


def _size(count: int) -> str:
    return f"{count / 2**30:.2f} GiB" if count >= 2**30 else f"{count / 2**20:.1f} MiB"

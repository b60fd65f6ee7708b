"""What `frepo plan` prints of a sweep."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from frepo.progress import duration
from frepo.store.query import Rows, format_rows

if TYPE_CHECKING:
    from frepo.execute.grid import Grid, GridCost

MOST_LINES = 40
"""Experiments that are listed; the table of a thousand helps nobody."""


def grid_text(grid: "Grid") -> str:
    """Return the axes, a line for each of the first experiments, and how many stages there are."""
    first, _ = grid.experiments[0]
    axes = tuple((axis, ", ".join(map(_shown, values))) for axis, values in grid.axes.items())
    rows = tuple(
        (loaded.spec.name, len(plan.stages), grid.done_of(plan)) for loaded, plan in grid.experiments[:MOST_LINES]
    )
    more = len(grid.experiments) - len(rows)
    return "\n".join(
        [
            f"{first.sweep}: {len(grid.experiments):,} experiments",
            format_rows(Rows(("axis", "values"), axes), "table"),
            format_rows(Rows(("experiment", "stages", "done"), rows), "table").rstrip(),
            *([f"... and {more:,} more (--only GLOB picks experiments by name, --json lists all)"] if more else []),
            f"\n{grid.asked_for:,} stages, {len(grid.stages):,} distinct, {grid.shared:,} of them needed by several "
            f"experiments; {grid.done:,} done",
            "",
        ]
    )


def grid_cost_text(costs: "Sequence[GridCost]", devices: int) -> str:
    """Return a table of the stages that were timed, and the sum over all that are alike."""
    rows = tuple(
        (
            entry.stage.directory,
            entry.stages,
            round(1 / entry.cost["seconds_per_step"], 2) if entry.cost else None,
            entry.cost["steps"] if entry.cost else None,
            duration(entry.seconds) if entry.cost else None,
        )
        for entry in costs
    )
    table = format_rows(Rows(("timed stage", "alike", "steps/s", "steps each", "time of all"), rows), "table")
    total = _cost_json(costs, devices)
    return (
        f"{table}{total['timed']} stages timed for {total['stages']:,} that are left: about "
        f"{duration(total['seconds_left'])} in all on {devices} device{'s' if devices > 1 else ''}, "
        f"{total['device_hours']:.3g} device-hours, besides loading data and scoring networks\n"
    )


def grid_json(grid: "Grid", costs: "tuple[Sequence[GridCost], int] | None") -> str:
    """Return all of it as JSON."""
    first, _ = grid.experiments[0]
    found: dict[str, Any] = {
        "sweep": first.sweep,
        "axes": grid.axes,
        "experiments": [
            {
                "name": loaded.spec.name,
                "run_id": plan.run_id,
                "swept": loaded.swept,
                "stages": [stage.directory for stage in plan.stages],
                "done": grid.done_of(plan),
            }
            for loaded, plan in grid.experiments
        ],
        "stages": {
            "all": grid.asked_for,
            "distinct": len(grid.stages),
            "shared": grid.shared,
            "done": grid.done,
        },
    }
    return json.dumps(found | ({"cost": _cost_json(*costs)} if costs else {}), indent=1, default=str)


def _cost_json(costs: "Sequence[GridCost]", devices: int) -> dict[str, Any]:
    seconds = sum(entry.seconds for entry in costs)
    return {
        "timed": sum(entry.cost is not None for entry in costs),
        "stages": sum(entry.stages for entry in costs if entry.cost),
        "seconds_left": seconds,
        "devices": devices,
        "device_hours": seconds * devices / 3600,
    }


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)

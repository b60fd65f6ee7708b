"""What `frepo plan` prints of a sweep."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from frepo.progress import duration
from frepo.store.text import Rows, format_rows

if TYPE_CHECKING:
    from frepo.execute.survey import AlikeCost, Survey

MOST_LINES = 40
"""Experiments that are listed; the table of a thousand helps nobody."""


def survey_text(found: "Survey") -> str:
    """Return the axes, a line for each of the first experiments, and how many stages there are."""
    experiments = found.graph.experiments
    axes = tuple((axis, ", ".join(map(_shown, values))) for axis, values in found.axes.items())
    rows = tuple(
        (experiment.name, len(experiment.places), found.done_of(experiment)) for experiment in experiments[:MOST_LINES]
    )
    more = len(experiments) - len(rows)
    return "\n".join(
        [
            f"{experiments[0].loaded.sweep}: {len(experiments):,} experiments",
            format_rows(Rows(("axis", "values"), axes), "table"),
            format_rows(Rows(("experiment", "stages", "done"), rows), "table").rstrip(),
            *([f"... and {more:,} more (--only GLOB picks experiments by name, --json lists all)"] if more else []),
            f"\n{found.asked_for:,} stages, {len(found.graph.stages):,} distinct, {found.shared:,} of them needed by "
            f"several experiments; {len(found.done):,} done",
            "",
        ]
    )


def survey_cost_text(costs: "Sequence[AlikeCost]", devices: int) -> str:
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


def survey_json(found: "Survey", costs: "tuple[Sequence[AlikeCost], int] | None") -> str:
    """Return all of it as JSON."""
    experiments = found.graph.experiments
    content: dict[str, Any] = {
        "sweep": experiments[0].loaded.sweep,
        "axes": found.axes,
        "experiments": [
            {
                "name": experiment.name,
                "run_id": experiment.plan.run_id,
                "swept": experiment.loaded.swept,
                "stages": [stage.directory for stage in experiment.plan.stages],
                "done": found.done_of(experiment),
            }
            for experiment in experiments
        ],
        "stages": {
            "all": found.asked_for,
            "distinct": len(found.graph.stages),
            "shared": found.shared,
            "done": len(found.done),
        },
    }
    return json.dumps(content | ({"cost": _cost_json(*costs)} if costs else {}), indent=1, default=str)


def _cost_json(costs: "Sequence[AlikeCost]", devices: int) -> dict[str, Any]:
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

"""How far the stages of specs or runs are, as a table."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from frepo.execute.graph import Graph
from frepo.rundir import record
from frepo.rundir.layout import stage_directory
from frepo.rundir.standing import WAITING, Standing, standing
from frepo.spec import LoadedSpec
from frepo.store.query import Rows, format_rows

MOST = 40
"""Stages that are waiting beyond so many are counted only."""

ORDER = ("failed", "damaged", "running", "interrupted", "stopped", WAITING, "done")


class StageStanding(NamedTuple):
    """A stage of a run and how far it is."""

    run: str
    stage: str
    standing: Standing


def standings_of_specs(specs: Sequence[LoadedSpec], runs_dir: Path) -> list[StageStanding]:
    """Return how far the distinct stages of specs are, each with the first experiment that asks for it."""
    graph = Graph(specs)
    return [
        StageStanding(graph.asking(stage)[0].name, stage.directory, standing(stage_directory(stage, runs_dir)))
        for stage in graph.stages
    ]


def standings_of_runs(runs_dir: Path) -> list[StageStanding]:
    """Return how far the stages of all runs are, each with the first run that has it.

    Raises:
        FrepoError: the record of a run is damaged.
    """
    found: dict[Path, StageStanding] = {}
    for directory in sorted({path.parent for path in runs_dir.glob("*/run-*.json")}):
        for run in record.read_runs(directory):
            for name in run.stages:
                place = (directory / name).resolve()
                if place not in found:
                    found[place] = StageStanding(directory.name, name, standing(place))
    return list(found.values())


def standings_text(found: Sequence[StageStanding]) -> str:
    """Return counts, and a line for each stage that is not done; of many that wait the first ones."""
    if not found:
        return "there are no runs\n"
    counts = Counter(entry.standing.status for entry in found)
    head = ", ".join(f"{counts[status]} {status}" for status in ORDER if counts[status])
    left = sorted((e for e in found if e.standing.status != "done"), key=lambda e: ORDER.index(e.standing.status))
    shown = [e for e in left if e.standing.status != WAITING] + [e for e in left if e.standing.status == WAITING][:MOST]
    rows = [
        (e.run, e.stage, e.standing.status, e.standing.progress, _where(e.standing), e.standing.error or "")
        for e in shown
    ]
    text = f"{len(found)} stages: {head}\n"
    if rows:
        columns = ("run", "stage", "status", "steps", "where", "why")
        text += "\n" + format_rows(Rows(columns, tuple(rows)), "table")
    if len(left) > len(shown):
        text += f"... and {len(left) - len(shown)} more that wait\n"
    logs = dict.fromkeys(e.standing.log for e in shown if e.standing.log and e.standing.status != "stopped")
    return text + "".join(f"log: {log}\n" for log in logs)


def standings_json(found: Sequence[StageStanding]) -> list[dict[str, Any]]:
    """Return the same as JSON, finished stages included."""
    return [
        {
            "run": entry.run,
            "stage": entry.stage,
            "status": entry.standing.status,
            "step": entry.standing.step,
            "steps": entry.standing.steps,
            "where": _where(entry.standing) or None,
            "log": entry.standing.log,
            "error": entry.standing.error,
        }
        for entry in found
    ]


def _where(found: Standing) -> str:
    return found.holder.where if found.holder else ""

"""How far the stages of specs or runs are, as a table."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from frepo.execute.graph import Graph
from frepo.execute.job import JOBS
from frepo.execute.slurm.queue import QueuedJob, queued_if_here
from frepo.rundir import record
from frepo.rundir.layout import stage_directory
from frepo.rundir.standing import WAITING, Standing, standing
from frepo.spec import LoadedSpec
from frepo.store.text import Rows, format_rows

MOST = 40
"""Stages that are queued or waiting beyond so many are counted only."""

QUEUED = "queued"
"""In Slurm's queue, and not at work."""
IDLE = (QUEUED, WAITING)

ORDER = ("failed", "damaged", "running", "interrupted", "stopped", QUEUED, WAITING, "done")


class StageStanding(NamedTuple):
    """A stage of a run and how far it is."""

    run: str
    stage: str
    standing: Standing
    job: QueuedJob | None = None
    """Its job of Slurm."""

    @property
    def status(self) -> str:
        """How far it is, in a word."""
        return QUEUED if self.job and self.standing.status not in ("running", "done") else self.standing.status

    @property
    def where(self) -> str:
        """Who works on it or will."""
        parts = [each.where for each in (self.standing.holder, self.job) if each]
        return ", ".join(parts)

    @property
    def log(self) -> str | None:
        """The file that says more."""
        return self.standing.log or (str(self.job.log) if self.job and self.job.log.exists() else None)


def standings_of_specs(specs: Sequence[LoadedSpec], runs_dir: Path) -> list[StageStanding]:
    """Return how far the distinct stages of specs are, each with the first experiment that asks for it."""
    graph, jobs = Graph(specs), queued_if_here(runs_dir.resolve() / JOBS)
    return [
        StageStanding(
            graph.asking(stage)[0].name,
            stage.directory,
            standing(stage_directory(stage, runs_dir)),
            jobs.get(stage.place),
        )
        for stage in graph.stages
    ]


def standings_of_runs(runs_dir: Path) -> list[StageStanding]:
    """Return how far the stages of all runs are, each with the first run that has it.

    Raises:
        FrepoError: the record of a run is damaged.
    """
    found: dict[Path, StageStanding] = {}
    jobs = queued_if_here(runs_dir.resolve() / JOBS)
    for directory in sorted({path.parent for path in runs_dir.glob("*/run-*.json")}):
        for run in record.read_runs(directory):
            for name in run.stages:
                place = (directory / name).resolve()
                if place not in found:
                    found[place] = StageStanding(directory.name, name, standing(place), jobs.get(place.name))
    return list(found.values())


def standings_text(found: Sequence[StageStanding]) -> str:
    """Return counts, and a line for each stage that is not done; of many that wait the first ones."""
    if not found:
        return "there are no runs\n"
    counts = Counter(entry.status for entry in found)
    head = ", ".join(f"{counts[status]} {status}" for status in ORDER if counts[status])
    left = sorted((e for e in found if e.status != "done"), key=lambda e: ORDER.index(e.status))
    shown = [e for e in left if e.status not in IDLE] + [e for e in left if e.status in IDLE][:MOST]
    rows = [(e.run, e.stage, e.status, e.standing.progress, e.where, e.standing.error or "") for e in shown]
    text = f"{len(found)} stages: {head}\n"
    if rows:
        columns = ("run", "stage", "status", "steps", "where", "why")
        text += "\n" + format_rows(Rows(columns, tuple(rows)), "table")
    if len(left) > len(shown):
        text += f"... and {len(left) - len(shown)} more that wait\n"
    logs = dict.fromkeys(e.log for e in shown if e.log and e.status != "stopped")
    return text + "".join(f"log: {log}\n" for log in logs)


def standings_json(found: Sequence[StageStanding]) -> list[dict[str, Any]]:
    """Return the same as JSON, finished stages included."""
    return [
        {
            "run": entry.run,
            "stage": entry.stage,
            "status": entry.status,
            "step": entry.standing.step,
            "steps": entry.standing.steps,
            "where": entry.where or None,
            "log": entry.log,
            "error": entry.standing.error,
        }
        for entry in found
    ]

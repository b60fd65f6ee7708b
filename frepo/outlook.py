"""What of a plan is done, what goes on and what starts, seen from the run directories."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from frepo import record
from frepo.identity import differences
from frepo.plan import Plan, Stage

RESULTS = {
    "distill": record.DISTILLED,
    "features": record.NETWORK,
    "tune": record.TUNING,
    "evaluate": record.EVALUATIONS,
    "fair_scores": record.SCORES,
    "continual": record.CONTINUAL,
    "expose": record.EXPOSED,
    "attack": record.ATTACKS,
}
"""Kind of a stage -> what it leaves."""


def is_done(stage: Stage, run_directory: Path) -> bool:
    """Return whether `stage` is finished below `run_directory` and its results are there."""
    directory = run_directory / stage.directory
    found = record.read_stage(directory)
    if found is None or found.status != "done" or found.fingerprint != stage.fingerprint:
        return False
    return (directory / RESULTS[stage.work.kind]).exists()


@dataclass(frozen=True)
class StageOutlook:
    """What `frepo run` would do with a stage."""

    stage: Stage
    status: str
    step: int
    """Steps that are done already."""
    changes: tuple[str, ...]
    """How its identity differs from that of the newest result with the same label."""


def outlook(plan: Plan, runs_dir: Path) -> list[StageOutlook]:
    """Return for each stage of `plan` whether it is done, goes on or starts, and what changed since the last result.

    Raises:
        FrepoError: a record is damaged.
    """
    return [_outlook(stage, runs_dir / plan.spec.name) for stage in plan.stages]


def _outlook(stage: Stage, run_directory: Path) -> StageOutlook:
    if is_done(stage, run_directory):
        return StageOutlook(stage, "done", 0, ())
    found = record.read_stage(run_directory / stage.directory)
    if found is not None:
        of = f" of {found.steps:,}" if found.steps else ""
        return StageOutlook(stage, f"goes on from step {found.step:,}{of}", found.step, ())
    others = [
        record.read_stage(path.parent) for path in run_directory.glob(f"{stage.label}-????????/{record.STAGE_FILE}")
    ]
    earlier = [other for other in others if other is not None and other.label == stage.label and other.attempts]
    newest = max(earlier, key=lambda other: other.attempts[-1].started, default=None)
    return StageOutlook(stage, "to compute", 0, _changes(newest.identity, stage.identity) if newest else ())


def _changes(old: dict[str, Any], new: dict[str, Any]) -> tuple[str, ...]:
    lines = tuple(map(str, differences({**old, "needs": None}, {**new, "needs": None})))
    return (*lines, "the stage it builds on") if old["needs"] != new["needs"] else lines

"""What of a plan is done, what goes on and what starts, seen from the run directories."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from frepo.plan import Plan, Stage
from frepo.plan.identity import differences
from frepo.rundir import record
from frepo.rundir.files import sha256_of_file
from frepo.rundir.layout import stage_directory
from frepo.rundir.record import ResultFile, StageRecord

HASHED_UP_TO = 2**24
"""Of larger results only the size is looked at, so that a finished spec is recognised at once."""


def is_done(stage: Stage, runs_dir: Path) -> bool:
    """Return whether `stage` is finished below `runs_dir` and its results are there as they were written."""
    found = _finished(stage, runs_dir)
    return found is not None and _damage(stage, found, stage_directory(stage, runs_dir)) is None


def damage(stage: Stage, runs_dir: Path) -> str | None:
    """Return what of the results of `stage`, if it is finished, is not as it was written: in words."""
    found = _finished(stage, runs_dir)
    return None if found is None else _damage(stage, found, stage_directory(stage, runs_dir))


def _finished(stage: Stage, runs_dir: Path) -> StageRecord | None:
    found = record.read_stage(stage_directory(stage, runs_dir))
    return found if found and found.status == "done" and found.fingerprint == stage.fingerprint else None


def _damage(stage: Stage, found: StageRecord, directory: Path) -> str | None:
    result = directory / stage.kind.result
    if not result.exists() or _is_empty(result):
        return f"{result.name} is {'empty' if result.exists() else 'missing'}"
    return next(
        (fault for name, written in found.results.items() if (fault := _fault(directory / name, written))), None
    )


def _is_empty(path: Path) -> bool:
    return not any(path.iterdir()) if path.is_dir() else path.stat().st_size == 0


def _fault(path: Path, written: ResultFile) -> str | None:
    if not path.exists():
        return f"{path.name} is missing"
    size = path.stat().st_size
    if size != written.size or (size <= HASHED_UP_TO and sha256_of_file(path) != written.sha256):
        return f"{path.name} is not what was written"
    return None


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
    return [_outlook(stage, runs_dir, runs_dir / plan.spec.name) for stage in plan.stages]


def _outlook(stage: Stage, runs_dir: Path, run_directory: Path) -> StageOutlook:
    if is_done(stage, runs_dir):
        return StageOutlook(stage, "done", 0, ())
    fault = damage(stage, runs_dir)
    if fault is not None:
        return StageOutlook(stage, f"to compute again: {fault}", 0, ())
    found = record.read_stage(stage_directory(stage, runs_dir))
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

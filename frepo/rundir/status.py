"""What of a plan is done, what goes on and what starts, seen from the run directories."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from frepo.plan import Plan, Stage
from frepo.plan.identity import differences
from frepo.plan.kinds import StageKind
from frepo.rundir import record
from frepo.rundir.files import sha256_of_file
from frepo.rundir.layout import stage_directory
from frepo.rundir.record import DamagedError, ResultFile, StageRecord

HASHED_UP_TO = 2**24
"""Of larger results only the size is looked at, so that a finished spec is recognised at once."""


def is_done(stage: Stage, runs_dir: Path) -> bool:
    """Return whether `stage` is finished below `runs_dir` and its results are there as they were written."""
    directory = stage_directory(stage, runs_dir)
    found = record.read_intact_stage(directory)
    return found is not None and _is_finished(stage, found) and next(_faults(stage, found, directory), None) is None


def damage(stage: Stage, runs_dir: Path, *, whole: bool = False) -> str | None:
    """Return what is not as it was written of the record of `stage`, and of its results if it is finished: in words.

    With `whole`, large results are read too.
    """
    directory = stage_directory(stage, runs_dir)
    try:
        found = record.read_stage(directory)
    except DamagedError as error:
        return f"{record.STAGE_FILE} is damaged ({error.reason})"
    if found is None or not _is_finished(stage, found):
        return None
    return next(_faults(stage, found, directory, whole=whole), None)


def result_faults(
    directory: Path, kind: StageKind, found: StageRecord, *, whole: bool = False
) -> Iterator[tuple[str, str]]:
    """Yield the results of a finished stage in `directory` that are not there as they were written, and what they are.

    Of those larger than `HASHED_UP_TO` only the size is looked at, unless the `whole` of them is to be read.
    """
    result = directory / kind.result
    if not result.exists() or _is_empty(result):
        yield kind.result, "is empty" if result.exists() else "is missing"
    for name, written in found.results.items():
        path = directory / name
        if not path.is_file():
            if path != result or path.exists():
                yield name, "is a directory" if path.exists() else "is missing"
        elif not _is_as_written(path, written, whole=whole) and (path != result or path.stat().st_size):
            yield name, "is not what was written"


def _faults(stage: Stage, found: StageRecord, directory: Path, *, whole: bool = False) -> Iterator[str]:
    return (f"{name} {what}" for name, what in result_faults(directory, stage.kind, found, whole=whole))


def _is_as_written(path: Path, written: ResultFile, *, whole: bool) -> bool:
    size = path.stat().st_size
    if size != written.size:
        return False
    return (size > HASHED_UP_TO and not whole) or sha256_of_file(path) == written.sha256


def _is_finished(stage: Stage, found: StageRecord) -> bool:
    return found.status == "done" and found.fingerprint == stage.fingerprint


def _is_empty(path: Path) -> bool:
    return not any(path.iterdir()) if path.is_dir() else path.stat().st_size == 0


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
        FrepoError: a record cannot be read.
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
        record.read_intact_stage(path.parent)
        for path in run_directory.glob(f"{stage.label}-????????/{record.STAGE_FILE}")
    ]
    earlier = [other for other in others if other is not None and other.label == stage.label and other.attempts]
    newest = max(earlier, key=lambda other: other.attempts[-1].started, default=None)
    return StageOutlook(stage, "to compute", 0, _changes(newest.identity, stage.identity) if newest else ())


def _changes(old: dict[str, Any], new: dict[str, Any]) -> tuple[str, ...]:
    lines = tuple(map(str, differences({**old, "needs": None}, {**new, "needs": None})))
    return (*lines, "the stage it builds on") if old["needs"] != new["needs"] else lines

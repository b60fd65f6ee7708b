"""How far stages are: done, at work, waiting or failed, where, and where their logs are."""

from dataclasses import dataclass
from pathlib import Path

from frepo.errors import FrepoError
from frepo.rundir import record
from frepo.rundir.lease import Holder, holder_of
from frepo.rundir.record import StageRecord

WAITING = "waiting"
"""No process has begun it."""


@dataclass(frozen=True)
class Standing:
    """How far one stage is.

    Attributes:
        status: that of the record, `interrupted` where it says running but no process is at work, or `waiting`.
        step: steps that are saved.
        steps: of all; None where there are none or it has not begun.
        holder: the process at work.
        log: the file that says more; None where the process wrote to a terminal.
        error: why it failed or stopped.
    """

    status: str
    step: int = 0
    steps: int | None = None
    holder: Holder | None = None
    log: str | None = None
    error: str | None = None

    @property
    def progress(self) -> str:
        """Steps in words; nothing where there are none."""
        return f"{self.step:,} of {self.steps:,}" if self.steps else ""


def standing(directory: Path) -> Standing:
    """Return how far the stage in `directory` is."""
    try:
        found = record.read_stage(directory)
    except FrepoError as error:
        return Standing("damaged", error=str(error))
    if found is None:
        return Standing(WAITING)
    last = found.attempts[-1] if found.attempts else None
    holder = living_holder(directory)
    return Standing(
        actual_status(found, directory),
        found.step,
        found.steps,
        holder,
        (holder.log if holder else None) or (last.log if last else None),
        last.error if last else None,
    )


def actual_status(stage: StageRecord, directory: Path) -> str:
    """Return `interrupted` for a stage that says it is running while no process holds its lease."""
    if stage.status != "running":
        return stage.status
    try:
        return "running" if holder_of(directory) else "interrupted"
    except OSError:  # a directory of another user
        return "running"


def living_holder(directory: Path) -> Holder | None:
    """Return the process that works on the stage in `directory`, or None where there is none or it cannot be told."""
    try:
        return holder_of(directory)
    except OSError:
        return None

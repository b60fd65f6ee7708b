"""What of the files of one stage is not as it was written, and what `frepo run` does about it."""

import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from frepo.errors import FrepoError
from frepo.plan.identity import fingerprint
from frepo.plan.kinds import KINDS, StageKind
from frepo.progress import duration
from frepo.rundir import record
from frepo.rundir.files import sha256_of_file
from frepo.rundir.record import DamagedError, ImageSheet, StageRecord
from frepo.rundir.rows import ROWS, MetricRows
from frepo.rundir.state import Unusable, read_state, state_files
from frepo.rundir.status import HASHED_UP_TO, result_faults
from frepo.spec import without_place

LOOKS = 3
"""At a stage whose record changes meanwhile, since a process works on it."""


@dataclass(frozen=True)
class Fault:
    """A file that is not as it was written.

    Attributes:
        path: of the file.
        what: is wrong with it.
        remedy: what happens about it, and what that costs.
    """

    path: Path
    what: str
    remedy: str


def verify_stage(directory: Path, command: str) -> list[Fault]:
    """Return the faults of the stage in `directory`, which `command` computes; nothing is written."""
    path, found = directory / record.STAGE_FILE, list[Fault]()
    for _ in range(LOOKS):
        before = _bytes(path)
        try:
            found = list(_faults(directory, command))
        except FrepoError as error:  # of another version, or not to be read: no damage that is known
            found = [Fault(directory, str(error), "nothing is changed before that")]
        if not found or _bytes(path) == before:
            break
    return found


def _faults(directory: Path, command: str) -> Iterator[Fault]:
    path = directory / record.STAGE_FILE
    try:
        found = record.read_stage(directory)
    except DamagedError as error:
        yield from _without_record(directory, f"is damaged ({error.reason})", command)
        return
    if found is None:
        if any(not entry.name.startswith(".") for entry in directory.iterdir()):
            yield from _without_record(directory, "is missing", command)
    elif not _is_itself(found):
        yield Fault(path, "is damaged (its fingerprint is not that of its identity)", _anew(found, command, directory))
    elif found.status == "done":
        yield from _of_results(directory, found, command)
        yield from (fault for sheet in found.images if (fault := _of_sheet(directory, sheet, found, command)))
    else:
        yield from _of_states(directory, _states(directory), found, command)


def _is_itself(found: StageRecord) -> bool:
    """Return whether a record holds together and is of a kind that this version knows."""
    try:
        return fingerprint(without_place(found.identity)) == found.fingerprint and found.identity["kind"] in KINDS
    except (KeyError, TypeError, AttributeError):
        return False


def _without_record(directory: Path, what: str, command: str) -> Iterator[Fault]:
    """Yield the faults of a stage whose record says nothing."""
    states = _states(directory)
    yield Fault(directory / record.STAGE_FILE, what, _from(_usable(states), None, command))
    yield from _of_states(directory, states, None, command)


def _of_results(directory: Path, found: StageRecord, command: str) -> Iterator[Fault]:
    kind = KINDS[found.identity["kind"]]
    for name, what in result_faults(directory, kind, found, whole=True):
        path = directory / name
        written = found.results.get(name)
        hidden = written and path.is_file() and path.stat().st_size == written.size > HASHED_UP_TO
        yield Fault(path, what, _anew(found, command, directory if hidden else None))
    for name, why in _unreadable(directory, kind, found):
        yield Fault(directory / name, f"is damaged ({why})", _anew(found, command, directory))


def _unreadable(directory: Path, kind: StageKind, found: StageRecord) -> Iterator[tuple[str, str]]:
    """Yield what cannot be read, and why, of results that an earlier version wrote, without digests."""
    for name in dict.fromkeys((kind.result, *(table.file for table in kind.tables), record.METRICS)):
        path = directory / name
        if name in found.results or not path.is_file():
            continue
        try:
            if path.suffix == ".jsonl":
                record.read_rows(path)
            elif path.suffix == ".npz":
                with zipfile.ZipFile(path) as archive:
                    if (bad := archive.testzip()) is not None:
                        yield name, f"the checksum of {bad} does not match"
        except DamagedError as error:
            yield name, error.reason
        except (zipfile.BadZipFile, NotImplementedError, OSError, EOFError) as error:
            yield name, str(error)


def _of_sheet(directory: Path, sheet: ImageSheet, found: StageRecord, command: str) -> Fault | None:
    path = directory / sheet.path
    if path.is_file() and sha256_of_file(path) == sheet.sha256:
        return None
    what = "is not what was written" if path.exists() else "is missing"
    remedy = "pages leave it out, and no number depends on it; to have it again, "
    return Fault(path, what, remedy + _anew(found, command, directory))


def _of_states(
    directory: Path, states: dict[Path, str | None], found: StageRecord | None, command: str
) -> Iterator[Fault]:
    """Yield the faults of what a stage that is not done is gone on from."""
    usable, newest = _usable(states), max((int(path.stem) for path in states), default=0)
    for path, what in states.items():
        if what is not None:
            kept = f"none is needed: the saved state of step {usable or 0:,} is newer and intact"
            yield Fault(path, what, kept if int(path.stem) < (usable or 0) else _from(usable, found, command))
    if found is not None and newest < found.step:
        what = f"has no state of step {found.step:,}, which was saved"
        yield Fault(directory / record.STATE, what, _from(usable, found, command))


def _states(directory: Path) -> dict[Path, str | None]:
    """Return the saved states, newest first, with what is wrong with each; None of one that can be gone on from."""
    states: dict[Path, str | None] = {}
    for path in state_files(directory / record.STATE):
        try:
            states[path] = _fault_of_state(directory, path)
        except FrepoError:
            if path.is_symlink() or path.exists():  # else a newer one took its place meanwhile
                raise
    return states


def _usable(states: dict[Path, str | None]) -> int | None:
    """Return the step of the newest saved state that a process can go on from."""
    return next((int(path.stem) for path, what in states.items() if what is None), None)


def _fault_of_state(directory: Path, path: Path) -> str | None:
    try:
        made_under, _ = read_state(path)
    except Unusable as error:
        return str(error)
    fault = MetricRows(directory / record.METRICS).fault(int(path.stem), made_under.get(ROWS))
    return None if fault is None else f"cannot be gone on from: {fault}"


def _from(step: int | None, found: StageRecord | None, command: str) -> str:
    """Return that a stage goes on from `step`, and how much has to be computed again for it."""
    lost = found.step - (step or 0) if found else 0
    again = f"; {lost:,} steps are computed again{_time(found, lost)}" if found and lost > 0 else ""
    since = f"goes on from the saved state of step {step:,}" if step else "computes the stage again from the start"
    return f"`{command}` {since}{again}"


def _anew(found: StageRecord | None, command: str, move: Path | None = None) -> str:
    """Return that a finished stage is computed again, what that costs, and what to `move` away for it."""
    steps = found.step if found and found.status == "done" else 0
    counted = f"{f': {steps:,} steps' if steps else ''}{_time(found, 0)}"
    first = f"move {move} away, then " if move else ""
    return f"{first}`{command}` computes the stage again from the start{counted}"


def _time(found: StageRecord | None, steps: int) -> str:
    """Return how long so many steps took, or all of a stage without steps, as far as it was recorded."""
    ended = [attempt for attempt in found.attempts if attempt.ended] if found else []
    seconds = sum((attempt.ended - attempt.started).total_seconds() for attempt in ended if attempt.ended)
    done = sum((attempt.last_step or 0) - attempt.first_step for attempt in ended)
    if not ended or (steps and done <= 0):
        return ""
    taken = seconds * steps / done if steps else seconds
    return f", about {duration(taken)}" if taken >= 1 else ", less than a second"


def _bytes(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None

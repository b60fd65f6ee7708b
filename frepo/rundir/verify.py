"""Reading all that frepo wrote below a directory of runs and holding it against its digests; nothing is written."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from frepo.errors import FrepoError
from frepo.rundir import record
from frepo.rundir.layout import STAGES, place_of
from frepo.rundir.record import DamagedError, RunRecord
from frepo.rundir.removal import names_of
from frepo.rundir.verify_stage import Fault, verify_stage

SOME_SPEC = "frepo run SPEC"
"""The command that computes a stage where no record says which."""
PLACE = re.compile(r"[a-z_]+-([0-9a-f]{12})(-[0-9a-f]{6})?")


@dataclass(frozen=True)
class Verified:
    """What was looked at, and what of it is not as it was written."""

    runs: int
    stages: int
    faults: tuple[Fault, ...]


def verify(runs_dir: Path, patterns: Sequence[str] = ()) -> Verified:
    """Look at the runs whose names fit `patterns` and at their stages; without patterns, at all that is there.

    Raises:
        FrepoError: there is no such directory, or a pattern fits no run.
    """
    if not runs_dir.is_dir():
        raise FrepoError(f"there is no run directory {runs_dir}; name another with --runs-dir")
    names = names_of(runs_dir, patterns) if patterns else sorted(_with_references(runs_dir))
    faults: list[Fault] = []
    commands: dict[Path, str] = {}
    """The directory of each stage, with the command that computes it."""
    for name in names:
        faults += _of_run(runs_dir / name, commands)
    if not patterns:
        for place in sorted((runs_dir / STAGES).glob("[!.]*")):
            commands.setdefault(place, SOME_SPEC)
    stages = {directory: command for directory, command in commands.items() if directory.is_dir()}
    for directory, command in stages.items():
        faults += verify_stage(directory, command)
    return Verified(len(names), len(stages), tuple(faults))


def _with_references(runs_dir: Path) -> Iterator[str]:
    """Yield the names of directories that hold records of runs, or links to stages."""
    for path in runs_dir.glob("[!.]*/"):
        if record.run_files(path) or any(entry.is_symlink() for entry in path.iterdir()):
            yield path.name


def _of_run(directory: Path, commands: dict[Path, str]) -> Iterator[Fault]:
    """Yield the faults of records and links of a name, and note its stages in `commands`."""
    found: dict[Path, RunRecord] = {}
    for path in record.run_files(directory):
        try:
            run = record.read_run(path)
        except DamagedError as error:
            yield Fault(
                path, f"is damaged ({error.reason})", f"`{SOME_SPEC}` writes it anew; nothing is computed again"
            )
            continue
        except FrepoError as error:
            yield Fault(path, str(error), "nothing is changed before that")
            continue
        if run is not None:
            found[path] = run
    if not record.run_files(directory):
        what = f"has links to stages, but no record of a run ({record.RUN_FILES})"
        yield Fault(directory, what, f"`{SOME_SPEC}` writes one; nothing is computed again")
    for run in found.values():
        yield from _of_links(directory, run, commands)
    for link in directory.iterdir():  # of runs whose record is damaged
        if not link.name.startswith(".") and (place := _place(link)):
            commands.setdefault(place, SOME_SPEC)


def _of_links(directory: Path, run: RunRecord, commands: dict[Path, str]) -> Iterator[Fault]:
    command = _command(run)
    for name in run.stages:
        link = directory / name
        if place := _place(link):
            commands[place] = command
        elif link.is_dir() and not link.is_symlink():  # as earlier versions kept stages
            commands[link] = command
        elif link.is_symlink() or link.exists():
            first = "" if link.is_symlink() else "move it away; then "
            what = "is no link to the place of its stage"
            yield Fault(link, what, f"{first}`{command}` makes it anew; nothing is computed again")
        else:
            yield Fault(link, "is missing", f"`{command}` makes the link anew; nothing is computed again")


def _place(link: Path) -> Path | None:
    """Return the place that a link of a run leads to; None where it is none, or leads to that of another stage."""
    place = PLACE.fullmatch(place_of(link) or "") if link.is_symlink() else None
    if place is None or not link.name.endswith(f"-{place[1][:8]}"):
        return None
    return link.parent.parent / STAGES / place[0]


def _command(run: RunRecord) -> str:
    provenance: Mapping[str, object] = run.provenance
    command = provenance.get("command")
    return command if isinstance(command, str) and command.startswith("frepo ") else f"frepo run {run.spec_file}"

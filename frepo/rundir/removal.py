"""Removing runs: their records, and the stages that no other run needs."""

import fnmatch
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from frepo.errors import FrepoError, near_text
from frepo.rundir import record
from frepo.rundir.directory import locked
from frepo.rundir.files import delete
from frepo.rundir.layout import STAGES, referring, set_aside
from frepo.rundir.lease import holder_of


@dataclass(frozen=True)
class Removal:
    """Directories to remove.

    Attributes:
        runs: of the runs, with their records and links.
        freed: places of stages that only these runs refer to, and results of theirs that were set aside.
        kept: places of stages that other runs need, with one of those runs.
    """

    runs: tuple[Path, ...]
    freed: tuple[Path, ...]
    kept: tuple[tuple[Path, str], ...]

    @property
    def size(self) -> int:
        """Bytes that this frees."""
        files = (path for directory in (*self.runs, *self.freed) for path in directory.rglob("*"))
        return sum(path.stat().st_size for path in files if path.is_file() and not path.is_symlink())


def plan_removal(runs_dir: Path, patterns: Sequence[str]) -> Removal:
    """Return what removing the runs with these names would remove; `*` and `?` stand for characters of names.

    Raises:
        FrepoError: a pattern fits no run, or a process works on a stage that would be freed.
    """
    names = set(names_of(runs_dir, patterns))
    freed: list[Path] = []
    kept: list[tuple[Path, str]] = []
    for place, users in sorted(referring(runs_dir).items()):
        directory = runs_dir / STAGES / place
        if not users & names:
            continue
        if users <= names:
            found = [directory, *directory.parent.glob(f".{place}.replaced-*")]
            freed += [path for path in found if path.exists()]
        else:
            kept.append((directory, min(users - names)))
    for directory in freed:
        # What was set aside may hold the lease under which that was done: nobody works there.
        holder = None if directory.name.startswith(".") else holder_of(directory)
        if holder:
            raise FrepoError(f"{directory} is at work: {holder.where}; stop it first (frepo cancel)")
    return Removal(tuple(runs_dir / name for name in sorted(names)), tuple(freed), tuple(kept))


def names_of(runs_dir: Path, patterns: Sequence[str]) -> list[str]:
    """Return the names of the runs that fit; `*` and `?` stand for characters of names.

    Raises:
        FrepoError: a pattern fits no run.
    """
    known = sorted({path.parent.name for path in runs_dir.glob(f"*/{record.RUN_FILES}")})
    names: set[str] = set()
    for pattern in patterns:
        fitting = fnmatch.filter(known, pattern)
        if not fitting:
            hint = near_text(pattern, known) or "; `frepo runs` lists them"
            raise FrepoError(f"there is no run `{pattern}` in {runs_dir}{hint}")
        names.update(fitting)
    return sorted(names)


def remove(removal: Removal) -> None:
    """Remove it; after a kill in the middle, doing the same again removes the rest.

    Raises:
        FrepoError: a directory cannot be removed, or a process has begun to work on it.
    """
    try:
        for directory in removal.freed:
            _remove_place(directory)
        for directory in removal.runs:
            _empty(directory)
        for directory in removal.runs:  # their records last: as long as there is one, its run is known by name
            delete(directory)
    except OSError as error:
        raise FrepoError(f"{error.filename} cannot be removed: {error.strerror}") from None


def _remove_place(directory: Path) -> None:
    """Set it aside first, so that no part of it counts as a result."""
    if directory.name.startswith("."):
        shutil.rmtree(directory)
        return
    with locked(directory, 0.0):
        aside = set_aside(directory)
    shutil.rmtree(aside)


def _empty(run_directory: Path) -> None:
    """Remove all but the records of a run; of one that is a link to another place, nothing there."""
    if run_directory.is_symlink():
        return
    records = set(record.run_files(run_directory))
    for path in run_directory.iterdir():
        if path not in records:
            delete(path)

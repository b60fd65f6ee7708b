"""Where stages lie: each in one place that follows from its fingerprint, with a link in every run that asks for it."""

import os
from pathlib import Path

from frepo.errors import FrepoError
from frepo.plan import Plan, Stage
from frepo.rundir.files import make_directories, rename, sync

STAGES = ".stages"
"""Below the directory of runs."""


def stage_directory(stage: Stage, runs_dir: Path) -> Path:
    """Return the directory that holds the results of `stage`, whichever run asks for it."""
    return runs_dir / STAGES / stage.place


def link_stages(plan: Plan, runs_dir: Path) -> None:
    """Let the run's directory refer to the places of its stages; a stage that is not computed yet is a dangling link.

    Raises:
        FrepoError: the file system has no symbolic links, or something else has the name of one.
    """
    for stage in plan.stages:
        link = runs_dir / plan.spec.name / stage.directory
        target = Path("..", STAGES, stage.place)
        if link.is_symlink() and link.readlink() == target:
            continue
        if link.exists() and not link.is_symlink():
            raise FrepoError(
                f"{link} is not the link to {runs_dir / STAGES / stage.place} that belongs there; move it away and run "
                "the spec again"
            )
        _link(link, target)
    sync(runs_dir / plan.spec.name)


def take_over(plan: Plan, runs_dir: Path) -> None:
    """Bring results of this run that lie elsewhere to the places of its stages.

    They are those of earlier versions, in the run's own directory (set aside by a dot before the name where the place
    is taken), and those of a folder of images that has another path now, where no other run needs them under the old.
    """
    for stage in plan.stages:
        link, place = runs_dir / plan.spec.name / stage.directory, stage_directory(stage, runs_dir)
        if not link.is_dir() or (link.is_symlink() and link.readlink().name == place.name):
            continue
        if not link.is_symlink():
            make_directories(place.parent)
            rename(link, free_name(link) if place.exists() else place)
        elif not place.exists() and referring(runs_dir).get(place_of(link) or "") == {plan.spec.name}:
            rename(link.resolve(), place)
        _link(link, Path("..", STAGES, stage.place))


def referring(runs_dir: Path) -> dict[str, set[str]]:
    """Return for the name of each place the names of the runs that have a link to it."""
    found: dict[str, set[str]] = {}
    for run in os.scandir(runs_dir):
        if run.name.startswith(".") or not run.is_dir():
            continue
        for entry in os.scandir(run.path):
            if entry.is_symlink() and not entry.name.startswith(".") and (place := place_of(entry.path)):
                found.setdefault(place, set()).add(run.name)
    return found


def place_of(link: str | Path) -> str | None:
    """Return the name of the place that a link of a run leads to; None where it leads elsewhere, as strangers' may."""
    target = Path(os.readlink(link))  # noqa: PTH115 (of an entry)
    plain = target.parent.name == STAGES and not target.name.startswith(".")
    return target.name if plain and target == Path("..", STAGES, target.name) else None


def set_aside(path: Path) -> Path:
    """Rename a directory so that nothing uses it, and return its new path: nothing is lost."""
    return rename(path, free_name(path))


def free_name(path: Path) -> Path:
    """Return the first hidden name beside `path` that is not taken."""
    return next(
        candidate
        for number in range(1, 10_000)
        if not (candidate := path.with_name(f".{path.name}.replaced-{number}")).exists()
    )


def _link(link: Path, target: Path) -> None:
    temporary = link.with_name(f".{link.name}.{os.getpid()}.tmp")
    try:
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(target)
        temporary.rename(link)  # in place of a link that leads elsewhere, at once
    except OSError as error:
        raise FrepoError(
            f"{link} cannot be made a symbolic link ({error.strerror}); name a directory on a file system that has "
            "them with --runs-dir"
        ) from None

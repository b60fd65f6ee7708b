"""Run directories as a run makes, locks and sets them aside."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from frepo import record
from frepo.errors import FrepoError
from frepo.outlook import damage
from frepo.plan import Plan, Stage
from frepo.progress import note, warn
from frepo.provenance import now, provenance
from frepo.record import RunRecord
from frepo.spec import LoadedSpec

LOCK_PATIENCE_SECONDS = 2.0


class StageBusyError(FrepoError):
    """Another process works on a stage."""


def make_directory(path: Path) -> None:
    """Make a directory and try that it can be written.

    Raises:
        FrepoError: it cannot.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        (path / ".writable").touch()
        (path / ".writable").unlink(missing_ok=True)
    except OSError as error:
        raise FrepoError(
            f"the run directory {path} cannot be written: {error.strerror}; name another with --runs-dir"
        ) from None


@contextmanager
def locked(directory: Path, patience: float = LOCK_PATIENCE_SECONDS) -> Generator[None]:
    """Hold the lock of a stage's directory while the block runs.

    Raises:
        StageBusyError: another process held it for all of `patience` seconds.
    """
    lock = FileLock(directory / record.LOCK)
    try:
        lock.acquire(timeout=patience)
    except Timeout:
        raise StageBusyError(
            f"another process is working on {directory}; wait for it, give the spec another name, or work along with "
            "it: --share"
        ) from None
    try:
        yield
    finally:
        lock.release()


def record_run(plan: Plan, loaded: LoadedSpec, directory: Path) -> None:
    """Write the record of a run, below `directory`, where there is none."""
    path = _run_file(plan, directory)
    if path.exists():
        return
    make_directory(directory)
    run_record = RunRecord(
        run_id=plan.run_id,
        name=plan.spec.name,
        fingerprint=plan.fingerprint,
        spec=plan.spec.model_dump(mode="json"),
        spec_file=str(loaded.path),
        spec_text=loaded.text,
        overrides=loaded.overrides,
        stages=tuple(stage.directory for stage in plan.stages),
        created=now(),
        provenance=provenance(loaded.path),
    )
    record.write_record(path, run_record)


def set_run_aside(plan: Plan, directory: Path) -> None:
    """Set the stages of a plan aside, so that nothing is lost and nothing is used; the run begins anew.

    Raises:
        StageBusyError: another process works on one of them.
    """
    for stage in plan.stages:
        path = directory / stage.directory
        if path.exists():
            with locked(path):
                aside = _rename(path)
            note(f"set aside {path} as {aside.name}")
    _run_file(plan, directory).unlink(missing_ok=True)  # the stages that went aside keep their own records


def set_damaged_aside(stage: Stage, directory: Path) -> None:
    """Set a stage aside that is finished but whose results are not there as they were written.

    Raises:
        StageBusyError: another process works on it.
    """
    if damage(stage, directory) is None:
        return
    path = directory / stage.directory
    with locked(path):
        fault = damage(stage, directory)  # again: another process may have been faster
        if fault:
            aside = _rename(path)
            warn(f"{path}: {fault}; set aside as {aside.name}, to be computed again")


def _rename(path: Path) -> Path:
    aside = next(
        candidate
        for number in range(1, 10_000)
        if not (candidate := path.with_name(f".{path.name}.replaced-{number}")).exists()
    )
    return path.rename(aside)


def _run_file(plan: Plan, directory: Path) -> Path:
    return directory / f"run-{plan.fingerprint[:8]}.json"

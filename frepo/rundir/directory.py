"""Run directories as a run makes, locks and sets them aside."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from frepo.errors import FrepoError
from frepo.plan import Plan, Stage
from frepo.progress import note, warn
from frepo.rundir import record
from frepo.rundir.provenance import now, provenance
from frepo.rundir.record import RunRecord
from frepo.rundir.status import damage
from frepo.runtime import RuntimeOptions
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


def record_run(plan: Plan, loaded: LoadedSpec, directory: Path, options: RuntimeOptions) -> None:
    """Record a run below `directory`; one that is recorded keeps its record unless that names other stages or places.

    Raises:
        FrepoError: the directory cannot be written, or the record is damaged.
    """
    path = _run_file(plan, directory)
    earlier = record.read_run(path)
    spec, stages = plan.spec.model_dump(mode="json"), tuple(stage.directory for stage in plan.stages)
    if earlier is not None and (earlier.spec, earlier.stages) == (spec, stages):
        return
    make_directory(directory)
    run_record = RunRecord(
        run_id=plan.run_id,
        name=plan.spec.name,
        fingerprint=plan.fingerprint,
        spec=spec,
        spec_file=str(loaded.path),
        spec_text=loaded.text,
        overrides=loaded.overrides,
        stages=stages,
        created=earlier.created if earlier else now(),
        provenance=provenance(loaded.path, options),
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

"""Run directories as a run makes, locks and sets them aside."""

from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from frepo.errors import FrepoError
from frepo.plan import Plan, Stage
from frepo.progress import note, warn
from frepo.rundir import record
from frepo.rundir.files import make_directories, rename_damaged
from frepo.rundir.layout import link_stages, set_aside, stage_directory
from frepo.rundir.lease import BusyError, Lease, held
from frepo.rundir.provenance import now, provenance
from frepo.rundir.record import DamagedError, RunRecord
from frepo.rundir.state import state_files
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
        make_directories(path)
        (path / ".writable").touch()
        (path / ".writable").unlink(missing_ok=True)
    except OSError as error:
        raise FrepoError(
            f"the run directory {path} cannot be written: {error.strerror}; name another with --runs-dir"
        ) from None


@contextmanager
def locked(directory: Path, patience: float = LOCK_PATIENCE_SECONDS) -> Generator[Lease]:
    """Hold the lease of a stage's directory while the block runs.

    Raises:
        StageBusyError: another process held it for all of `patience` seconds.
        OSError: the directory cannot be written.
    """
    with ExitStack() as stack:
        try:
            lease = stack.enter_context(held(directory, patience))
        except BusyError as error:
            raise StageBusyError(f"another process is working on it: {error}; wait for it, or stop it") from None
        yield lease


def record_run(plan: Plan, loaded: LoadedSpec, options: RuntimeOptions) -> None:
    """Record a run and link its stages; one that is recorded keeps its record unless that names other stages.

    Raises:
        FrepoError: the directory cannot be written, or the record cannot be read.
    """
    directory = options.runs_dir / plan.spec.name
    path = _run_file(plan, directory)
    earlier = _earlier(path)
    spec, stages = plan.spec.model_dump(mode="json"), tuple(stage.directory for stage in plan.stages)
    if earlier is None or (earlier.spec, earlier.stages) != (spec, stages):
        make_directory(directory)
        run_record = RunRecord(
            run_id=plan.run_id,
            name=plan.spec.name,
            fingerprint=plan.fingerprint,
            spec=spec,
            spec_file=str(loaded.path),
            spec_text=loaded.text,
            extended={str(base.path): base.text for base in loaded.bases},
            sweep=loaded.sweep,
            swept=loaded.swept,
            overrides=loaded.overrides,
            stages=stages,
            created=earlier.created if earlier else now(),
            provenance=provenance(loaded.path, options),
        )
        record.write_record(path, run_record)
    link_stages(plan, options.runs_dir)


def _earlier(path: Path) -> RunRecord | None:
    """Return the record of a run; one that is damaged is set aside, as the spec says all of it anew."""
    try:
        return record.read_run(path)
    except DamagedError as error:
        aside = rename_damaged(path)
        warn(f"{path} is damaged ({error.reason}); set aside as {aside.name}, and written anew")
        return None


def set_run_aside(plan: Plan, runs_dir: Path) -> None:
    """Set the stages of a plan aside, so that nothing is lost and nothing is used; the run begins anew.

    Raises:
        StageBusyError: another process works on one of them.
    """
    for stage in plan.stages:
        path = stage_directory(stage, runs_dir)
        if path.exists():
            with locked(path):
                aside = set_aside(path)
            note(f"set aside {path} as {aside.name}")
    _run_file(plan, runs_dir / plan.spec.name).unlink(missing_ok=True)  # stages that went aside keep their records


def set_damaged_aside(stage: Stage, runs_dir: Path) -> None:
    """Set a stage aside whose record is damaged, or that is finished and whose results are not as they were written.

    Of one that has a saved state only the record goes: the state, whose place says what it is of, is gone on from.

    Raises:
        StageBusyError: another process works on it.
    """
    if damage(stage, runs_dir, whole=True) is None:
        return
    path = stage_directory(stage, runs_dir)
    with locked(path):
        fault = damage(stage, runs_dir, whole=True)  # again: another process may have been faster
        if fault is None:
            return
        if state_files(path / record.STATE) and fault.startswith(record.STAGE_FILE):
            aside = rename_damaged(path / record.STAGE_FILE)
            warn(f"{path}: {fault}; set aside as {aside.name}, to go on from the saved state")
        else:
            aside = set_aside(path)
            warn(f"{path}: {fault}; set aside as {aside.name}, to be computed again")


def _run_file(plan: Plan, directory: Path) -> Path:
    return directory / f"run-{plan.fingerprint[:8]}.json"

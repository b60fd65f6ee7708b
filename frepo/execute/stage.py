"""One stage of a run: locked, computed and recorded."""

import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frepo.errors import FrepoError, Interrupted
from frepo.execute.index import bring_up_if_free
from frepo.plan import Stage
from frepo.rundir import record
from frepo.rundir.directory import LOCK_PATIENCE_SECONDS, locked, make_directory
from frepo.rundir.files import remove_leftovers
from frepo.rundir.layout import stage_directory
from frepo.rundir.lease import LostError, log_file
from frepo.rundir.provenance import now, peak_host_bytes, provenance
from frepo.rundir.record import Attempt, StageRecord
from frepo.rundir.status import is_done
from frepo.rundir.tensorboard import event_file
from frepo.runtime import RuntimeOptions

if TYPE_CHECKING:
    from frepo.engine.journal import Journal


@dataclass(frozen=True)
class Found:
    """Facts that were found before a stage starts.

    Attributes:
        dataset: facts of its data, as JSON.
        files: mark of the files that the data is read from; None where they are not there.
        device: in words.
        spec: the file of the spec.
    """

    dataset: dict[str, Any]
    files: str | None
    device: str
    spec: Path


def run_stage(
    stage: Stage,
    name: str,
    options: RuntimeOptions,
    found: Found,
    position: str,
    say: Callable[[str], None],
) -> None:
    """Compute a stage in its place, from its saved state where there is one, unless it is done by then.

    `name` is that of a run that asks for it, which the database follows meanwhile.

    Raises:
        StageBusyError: another process works on it.
        Interrupted: a signal came; the state is saved.
        FrepoError: it failed.
    """
    from frepo.engine.journal import Journal
    from frepo.execute import stages

    directory = stage_directory(stage, options.runs_dir)
    make_directory(directory)
    with locked(directory, 0.0 if options.processes is None else LOCK_PATIENCE_SECONDS) as lease:
        if is_done(stage, options.runs_dir):
            say("done by another process")
            return
        remove_leftovers(directory)
        say(f"starts on {found.device}")
        with event_file(directory, wanted=options.tensorboard) as events:
            log = _StageLog(stage, directory, found, options)

            def saved(step: int, steps: int) -> None:
                lease.must_be_held()
                log.saved(journal.first_step, step, steps)
                bring_up_if_free(options, name)

            journal = Journal(
                directory,
                stage.directory,
                options.checkpoint_every,
                options.log_every,
                saved,
                position,
                events,
                recorded_step=log.step,
            )
            log.write("running")
            try:
                stages.execute(stage, options, journal)
                if events:
                    events.add_images(journal.images)
                lease.must_be_held()
            except LostError:
                raise  # the record is that of the process that has it now
            except (FrepoError, OSError) as error:
                lease.must_be_held()
                with suppress(OSError):  # a full disk has no room for the record either
                    status = "stopped" if isinstance(error, Interrupted) else "failed"
                    log.finish(status, journal, journal.saved_step, str(error).splitlines()[0])
                    bring_up_if_free(options, name, LOCK_PATIENCE_SECONDS)
                raise
            journal.close_rows()
            log.images, log.results = tuple(journal.images), journal.results
            log.budget_bytes = journal.budget_bytes
            log.finish("done", journal, journal.last_step)
        shutil.rmtree(directory / record.STATE, ignore_errors=True)
    bring_up_if_free(options, name)


class _StageLog:
    """The record of a stage while this process works on it."""

    def __init__(
        self,
        stage: Stage,
        directory: Path,
        found: Found,
        options: RuntimeOptions,
    ) -> None:
        from frepo.engine.environment import numerics

        previous = record.read_intact_stage(directory)
        self._path = directory / record.STAGE_FILE
        self._earlier = previous.attempts if previous else ()
        here = {**provenance(found.spec, options), "numerics": numerics()}
        self._attempt = Attempt(started=now(), device=found.device, log=log_file(), provenance=here)
        self._stage, self._found = stage, found
        self.step, self._steps = (previous.step, previous.steps) if previous else (0, None)
        self.images: tuple[record.ImageSheet, ...] = ()
        self.results: dict[str, record.ResultFile] = {}
        self.budget_bytes: int | None = None

    def write(self, status: record.Status) -> None:
        stage_record = StageRecord(
            fingerprint=self._stage.fingerprint,
            identity=self._stage.identity,
            label=self._stage.label,
            status=status,
            step=self.step,
            steps=self._steps,
            dataset=self._found.dataset,
            attempts=(*self._earlier, self._attempt),
            images=self.images,
            results=self.results,
            budget_bytes=self.budget_bytes,
            data_files=self._found.files,
        )
        record.write_record(self._path, stage_record)

    def saved(self, first_step: int, step: int, steps: int) -> None:
        """Write what a saved state holds."""
        self.step, self._steps = step, steps
        self._attempt = self._attempt.model_copy(update={"first_step": first_step, "last_step": step})
        self.write("running")

    def finish(
        self, status: record.Status, journal: "Journal", last_step: int | None, error: str | None = None
    ) -> None:
        """Write how the attempt ended; `last_step` is None where it never came to know what is saved."""
        from frepo.execute import stages

        self.step = self.step if last_step is None else last_step
        self._steps = self._steps if journal.steps is None else journal.steps
        self._attempt = self._attempt.model_copy(
            update={
                "ended": now(),
                "error": error,
                "first_step": journal.first_step,
                "last_step": last_step,
                "peak_host_bytes": peak_host_bytes(),
                "peak_device_bytes": stages.peak_device_bytes(),
            }
        )
        self.write(status)

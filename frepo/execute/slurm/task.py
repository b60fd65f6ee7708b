"""The task of a job, on its node: a stage's process, told to save before the job ends, and the job queued anew."""

import os
import signal
import subprocess
from contextlib import suppress
from dataclasses import dataclass

from submitit import JobEnvironment
from submitit.helpers import DelayedSubmission

from frepo.errors import Interrupted
from frepo.rundir.lease import LOG_VARIABLE

STOPPED = (Interrupted.exit_code, -signal.SIGTERM, -signal.SIGUSR2)
"""Exit codes of a command that was told to stop; the signals' own, where they came before it had begun to listen."""


@dataclass
class Task:
    """What submitit calls in a job, and asks for a checkpoint when Slurm is about to end it."""

    command: tuple[str, ...]
    """Computes the stage; leaves with `Interrupted.exit_code` once a signal came and the state is saved."""

    _process: int | None = None

    def __call__(self) -> None:
        """Run the command to its end; where it was stopped and Slurm has not cancelled the job, queue the job anew.

        Raises:
            SystemExit: the command failed, with its exit code: submitit would print a traceback of any other error.
        """
        environment = {**os.environ, LOG_VARIABLE: str(JobEnvironment().paths.stdout)}
        self._process = os.posix_spawnp(self.command[0], self.command, environment)
        code = self._wait()
        # All processes of a preempted job get SIGTERM, perhaps before submitit gets the signal that it waits for.
        if code == Interrupted.exit_code and _is_to_go_on():
            signal.raise_signal(signal.Signals[f"SIG{JobEnvironment.USR_SIG}"])
        if code:
            raise SystemExit(code)

    def checkpoint(self) -> DelayedSubmission:
        """Stop the command and return what the next start of the job does.

        Called in a signal handler, which may have interrupted `_wait`: hence without `subprocess`, which has a lock.

        Raises:
            SystemExit: there is to be no next start: the command was at its end, or failed.
        """
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.kill(self._process, signal.SIGTERM)
            code = self._wait()
            if code not in STOPPED:
                raise SystemExit(code)
        return DelayedSubmission(Task(self.command))

    def _wait(self) -> int:
        """Return the exit code of the command, negative for a signal."""
        assert self._process is not None
        try:
            _, status = os.waitpid(self._process, 0)
        except ChildProcessError:  # the wait that a signal interrupted had its code already; the next start finds out
            return Interrupted.exit_code
        self._process = None
        return os.waitstatus_to_exitcode(status)


def _is_to_go_on() -> bool:
    """Return whether Slurm still takes this job for a running one; a cancelled one is not queued anew."""
    asked = ["squeue", "--noheader", f"--jobs={JobEnvironment().job_id}", "--format=%T"]
    state = subprocess.run(asked, capture_output=True, text=True).stdout.strip()
    return state in ("RUNNING", "PREEMPTED")

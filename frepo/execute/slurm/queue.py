"""Slurm's queue: which stages are in it, and how they leave it."""

import json
import shutil
import subprocess
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from frepo.errors import FrepoError
from frepo.rundir.files import write_atomically

LOGS = "slurm"
"""Folder of a job directory: what jobs print, and submitit's own files."""
FILE = "slurm.json"
"""File of a job directory: ids of jobs by the keys of their stages."""
MOST_IDS = 500
"""In one command line."""


@dataclass(frozen=True)
class QueuedJob:
    """A job that has not ended.

    Attributes:
        job_id: `12_3` in an array.
        state: in Slurm's words: `PENDING`, `RUNNING`, ...
        reason: why it waits.
        directory: of the job of frepo that it belongs to.
    """

    job_id: str
    state: str
    reason: str
    directory: Path

    @property
    def where(self) -> str:
        """The job in words."""
        why = f", {self.reason}" if self.reason not in ("", "None") else ""
        return f"Slurm job {self.job_id} ({self.state.lower()}{why})"

    @property
    def log(self) -> Path:
        """What it prints."""
        return log_of(self.directory, self.job_id)


def remember(job_directory: Path, ids: Mapping[str, str]) -> None:
    """Keep in a job directory which stage is which job."""
    write_atomically(job_directory / FILE, json.dumps({"jobs": dict(ids)}, indent=1).encode())


def log_of(job_directory: Path, job_id: str) -> Path:
    """Return where a job prints to."""
    return job_directory / LOGS / f"{job_id}_0_log.out"


def queued_if_here(jobs_directory: Path) -> dict[str, QueuedJob]:
    """Return the same as `queued`, or nothing where there is no Slurm."""
    return queued(jobs_directory) if shutil.which("squeue") else {}


def queued(jobs_directory: Path) -> dict[str, QueuedJob]:
    """Return the jobs in the queue that were submitted from below `jobs_directory`, by the keys of their stages.

    Nothing, without asking Slurm, where none was.

    Raises:
        FrepoError: Slurm does not answer.
    """
    files = sorted(jobs_directory.glob(f"*/{FILE}"), key=lambda file: file.stat().st_mtime)
    if not files:
        return {}
    lines = _asked("squeue", "--me", "--array", "--noheader", "--format=%i|%T|%r").splitlines()
    states = {job_id: (state, reason) for job_id, state, reason in (line.split("|", 2) for line in lines)}
    return {
        key: QueuedJob(job_id, *states[job_id], file.parent)
        for file in files
        for key, job_id in json.loads(file.read_bytes())["jobs"].items()
        if job_id in states
    }


def cancel(job_ids: Collection[str]) -> None:
    """Take jobs out of the queue; of one that runs the stage saves its state.

    Raises:
        FrepoError: Slurm does not answer.
    """
    ids = sorted(job_ids)
    for start in range(0, len(ids), MOST_IDS):
        _asked("scancel", "--quiet", *ids[start : start + MOST_IDS])


def _asked(*command: str) -> str:
    if shutil.which(command[0]) is None:
        raise FrepoError(f"no {command[0]} on PATH: run this on a machine that submits to Slurm")
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise FrepoError(f"{command[0]} failed: {done.stderr.strip()}")
    return done.stdout

"""Stages into Slurm's queue, or onto the screen."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from submitit import SlurmExecutor
from submitit.core.utils import FailedJobError, FailedSubmissionError

from frepo.errors import FrepoError
from frepo.execute.slurm.arrays import Array, StageJob, arrays
from frepo.execute.slurm.queue import LOGS, remember
from frepo.execute.slurm.settings import Settings
from frepo.execute.slurm.task import Task


def must_be_possible() -> None:
    """Look for Slurm's commands.

    Raises:
        FrepoError: they are not here.
    """
    if not all(map(shutil.which, ("sbatch", "srun", "squeue"))):
        raise FrepoError(
            "no sbatch on PATH: run this on a machine that submits to Slurm, or with --dry-run to see its scripts"
        )


def submit(
    stages: Sequence[StageJob], queued: Mapping[str, str], settings: Settings, job_directory: Path
) -> dict[str, str]:
    """Put stages into the queue and return the ids of their jobs by key.

    Args:
        stages: those that are neither done nor queued, each after those that it needs.
        queued: ids of the jobs of other stages that are in the queue, by key.
        settings: what each job asks for.
        job_directory: seen by the nodes; keeps the logs, and which stage is which job.

    Raises:
        FrepoError: Slurm refused; arrays before the one that it refused are queued.
    """
    submitted: dict[str, str] = {}
    for array in arrays(stages, queued):
        executor = SlurmExecutor(job_directory / LOGS, max_num_timeout=settings.max_timeouts)
        try:
            executor.update_parameters(**_parameters(array, settings, {**queued, **submitted}))
            with executor.batch():
                jobs = [executor.submit(Task(stage.command)) for stage in array.stages]
        except (FailedJobError, FailedSubmissionError) as error:
            raise FrepoError(f"sbatch refused {array.name} ({len(array.stages)} jobs): {error}") from None
        submitted |= {stage.key: job.job_id for stage, job in zip(array.stages, jobs, strict=True)}
        remember(job_directory, submitted)
    return submitted


def scripts(
    stages: Sequence[StageJob], queued: Mapping[str, str], settings: Settings, job_directory: Path
) -> Iterator[str]:
    """Yield the script of each array that `submit` would give to sbatch; no Slurm is needed.

    In place of ids that only Slurm gives, dependencies name arrays by their number among these scripts: `<1>`.
    """
    ids = dict(queued)
    for number, array in enumerate(arrays(stages, queued), start=1):
        ids |= dict.fromkeys((stage.key for stage in array.stages), f"<{number}>")
        executor = _WithoutCluster(job_directory / LOGS)
        executor.update_parameters(**_parameters(array, settings, ids))
        yield executor.script(len(array.stages))


class _WithoutCluster(SlurmExecutor):
    """Makes the same scripts where there is no Slurm."""

    @classmethod
    def affinity(cls) -> int:
        return 1

    def script(self, count: int) -> str:
        """Return the script of an array of `count` jobs; of one job, which is no array."""
        if count > 1:
            self.parameters["map_count"] = count
        return self._make_submission_file_text(self._submitit_command_str, uid="")


def _parameters(array: Array, settings: Settings, ids: Mapping[str, str]) -> dict[str, Any]:
    """Return what submitit is told of an array; `ids` are those of all stages that are queued, by key."""
    waits_for = sorted({ids[need].partition("_")[0] for need in array.needs if need in ids})
    return {
        "job_name": array.name,
        "partition": settings.partition,
        "account": settings.account,
        "qos": settings.qos,
        "constraint": settings.constraint,
        "gpus_per_node": settings.gpus or None,
        "cpus_per_task": settings.cpus,
        "mem": settings.memory,
        "time": settings.time,
        "signal_delay_s": settings.notice,
        "array_parallelism": settings.max_parallel,
        "setup": list(settings.setup) or None,
        "dependency": ":".join(["afterany", *waits_for]) if waits_for else None,
        "stderr_to_stdout": True,
        "wckey": None,
        "additional_parameters": {"requeue": True, **settings.options},
    }

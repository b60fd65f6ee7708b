"""Several processes of this machine: one for each GPU, or a part of the cores each."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence

from frepo.errors import FrepoError, SpecError
from frepo.execute.executor import Work
from frepo.execute.job import Job, make_job
from frepo.execute.watch import Watch
from frepo.progress import note, warn
from frepo.rundir.lease import LOG_VARIABLE, held
from frepo.rundir.status import is_done
from frepo.signals import raise_if_stopping, stopping

LOOK_SECONDS = 0.5

GPUS = "CUDA_VISIBLE_DEVICES"


class LocalProcesses:
    """So many processes, which work on stages side by side; what each says goes to a log."""

    def __init__(self, count: int) -> None:
        """Divide the machine.

        Raises:
            SpecError: there are not so many GPUs, or cores where there is none.
        """
        self._shares = shares(count)

    def compute(self, work: Work) -> frozenset[str]:
        """Compute the pending stages, and leave none.

        Raises:
            Interrupted: a signal came; what was computed is saved.
            FrepoError: processes died, and stages are left.
        """
        job = make_job(work.specs, work.options)
        shares_used = self._shares[: len(work.pending)]
        note(f"{len(shares_used)} processes work on {len(work.pending)} stages; what they say is in {job.log('*')}")
        watch = Watch(work)
        with held(job.directory, 0.0):
            processes = self._let_work(job, shares_used, watch)
        watch.look()
        raise_if_stopping()
        for stage in work.pending:
            with work.failures.of_stage(stage):
                failure = job.failure(stage.place)
                if failure:
                    raise failure
        self._must_be_done(work, job, processes)
        return frozenset()

    def _let_work(
        self, job: Job, shares_used: Sequence[dict[str, str]], watch: Watch
    ) -> list["subprocess.Popen[bytes]"]:
        processes: list[subprocess.Popen[bytes]] = []
        try:
            processes += (_start(job, number, share) for number, share in enumerate(shares_used))
            while any(process.poll() is None for process in processes):
                if stopping():
                    _ask_to_stop(processes)
                watch.look()
                time.sleep(LOOK_SECONDS)
        finally:
            _ask_to_stop(processes)
            for process in processes:
                process.wait()
        return processes

    def _must_be_done(self, work: Work, job: Job, processes: Sequence["subprocess.Popen[bytes]"]) -> None:
        died = [number for number, process in enumerate(processes) if process.returncode not in (0, 1)]
        for number in died:
            warn(f"process {number} ended with exit code {processes[number].returncode}: {job.log(str(number))}")
        for stage in work.pending:
            if work.failures.wanted(stage) and not is_done(stage, work.options.runs_dir):
                with work.failures.of_stage(stage):
                    raise FrepoError(
                        f"{stage.place} is not done: the processes that worked on it ended before; see the logs in "
                        f"{job.log('*').parent}, and run the same command again to go on"
                    )


def shares(count: int) -> list[dict[str, str]]:
    """Return for each of `count` processes what it may use: a GPU, or cores as a comma-separated list.

    Raises:
        SpecError: there are not so many.
    """
    gpus = _gpus()
    if gpus:
        if count > len(gpus):
            raise SpecError(f"--jobs {count}: there {_are(len(gpus), 'GPU')}, and each process needs one of its own")
        return [{GPUS: gpu} for gpu in gpus[:count]]
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))
    if count > len(cores):
        raise SpecError(f"--jobs {count}: there {_are(len(cores), 'core')}, and each process needs one of its own")
    return [{"cores": ",".join(map(str, cores[number::count]))} for number in range(count)]


def _are(count: int, noun: str) -> str:
    return f"is {count} {noun}" if count == 1 else f"are {count} {noun}s"


def _gpus() -> list[str]:
    given = os.environ.get(GPUS)
    if given is not None:
        return [gpu for gpu in given.split(",") if gpu]
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    asked = [program, "--query-gpu=index", "--format=csv,noheader"]
    found = subprocess.run(asked, capture_output=True, text=True, timeout=30, check=False)
    return found.stdout.split() if found.returncode == 0 else []


def _start(job: Job, number: int, share: dict[str, str]) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "frepo.cli", "work", str(job.file), "--parent", str(os.getpid())]
    if "cores" in share:
        command += ["--cores", share["cores"]]
    path = job.log(str(number))
    own = {name: value for name, value in share.items() if name == GPUS}
    environment = {**os.environ, **own, LOG_VARIABLE: str(path)}
    with path.open("wb") as log:
        return subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)


def _ask_to_stop(processes: Sequence["subprocess.Popen[bytes]"]) -> None:
    for process in processes:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)

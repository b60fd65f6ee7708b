"""The command of the processes that executors start: not for people, so help does not list it."""

from pathlib import Path
from typing import Annotated

import typer


def work(
    job: Annotated[Path, typer.Argument(metavar="JOB", help="The file of a job.", show_default=False)],
    places: Annotated[
        list[str] | None, typer.Argument(metavar="[STAGE]...", help="Places of stages; all where left out.")
    ] = None,
    cores: Annotated[str | None, typer.Option(metavar="N,N,...", help="The cores to use.", show_default="all")] = None,
    parent: Annotated[
        int | None,
        typer.Option(metavar="PID", help="End with this process, which started this one.", show_default=False),
    ] = None,
) -> None:
    """Compute stages of a job."""
    from frepo.execute.job import read_job
    from frepo.execute.worker import work as work_on

    chosen = frozenset(int(core) for core in cores.split(",")) if cores else None
    work_on(read_job(job), places or (), cores=chosen, parent=parent)

"""Commands that run a spec: as it is, or with imported images in place of those that it would learn."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from frepo.cli import executors
from frepo.cli.options import (
    AsJson,
    Chunk,
    Database,
    DataDir,
    Offline,
    Only,
    Overrides,
    Quiet,
    RunsDir,
    SpecFiles,
)
from frepo.cli.specs import experiments
from frepo.errors import SpecsFailedError
from frepo.runtime import DEFAULT_CHUNK, DEFAULT_DATABASE, DEFAULT_RUNS_DIR, Residency


def run(
    specs: SpecFiles,
    overrides: Overrides = None,
    only: Only = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Set results that exist aside and compute them again.")
    ] = False,
    checkpoint_every: Annotated[
        str, typer.Option(help="Save the state every so many steps (1000) or seconds (60s).")
    ] = "60s",
    log_every: Annotated[
        int | None, typer.Option(min=1, help="Steps between rows of metrics.", show_default="about 200 rows a stage")
    ] = None,
    residency: Annotated[
        Residency, typer.Option(help="Where training images lie; auto: on the device where they fit.")
    ] = "auto",
    chunk: Chunk = DEFAULT_CHUNK,
    compile_cache: Annotated[
        bool, typer.Option("--compile-cache/--no-compile-cache", help="Keep compiled programs for the next start.")
    ] = True,
    jobs: executors.Jobs = 1,
    executor: executors.Name = "local",
    executor_config: executors.Config = None,
    dry_run: executors.DryRun = False,
    wait: executors.Wait = False,
    distributed: Annotated[
        str | None,
        typer.Option(
            metavar="auto|HOST:PORT,INDEX/COUNT",
            help="Compute together with other processes that run the same command; auto: as the cluster says.",
            show_default=False,
        ),
    ] = None,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Write the metrics for TensorBoard too, beside those of each stage.")
    ] = False,
    offline: Offline = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
    runs_dir: RunsDir = DEFAULT_RUNS_DIR,
    db: Database = DEFAULT_DATABASE,
    data_dir: DataDir = None,
) -> None:
    """Run specs; the same command again resumes what was stopped and skips what is done."""
    from frepo.execute import runner
    from frepo.progress import silenced
    from frepo.runtime import Cadence, Processes, RuntimeOptions

    loaded = experiments(specs, overrides, only)
    choice = executors.Choice(
        executor, jobs, executor_config, dry_run=dry_run, wait=wait, together=distributed is not None, fresh=fresh
    )
    options = RuntimeOptions(
        runs_dir=runs_dir,
        database=db,
        data_dir=data_dir,
        checkpoint_every=Cadence.parse(checkpoint_every),
        log_every=log_every,
        residency=residency,
        chunk=chunk,
        compile_cache=compile_cache,
        processes=Processes.parse(distributed) if distributed else None,
        tensorboard=tensorboard,
        offline=offline,
    )
    if dry_run:
        choice.print_scripts(loaded, options)
        return
    try:
        with silenced(quiet):
            run_ids = runner.run(loaded, options, fresh=fresh, executor=choice.executor())
    except SpecsFailedError as failed:
        if failed.finished:
            print_results(db, failed.finished, as_json)
        raise
    if run_ids:
        print_results(db, run_ids, as_json)


def print_results(database: Path, run_ids: Sequence[str], as_json: bool) -> None:
    """Print the results of runs, as text or as JSON."""
    from frepo.store.tables import results_json, results_text
    from frepo.store.text import json_text

    found = json_text(results_json(database, run_ids)) if as_json else results_text(database, run_ids)
    typer.echo(found, nl=False)

"""Commands that run a spec: as it is, or with imported images in place of those that it would learn."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

from frepo.cli import executors
from frepo.cli.completion import spec_files
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
from frepo.errors import SpecError, SpecsFailedError
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
    choice = executors.Choice(executor, jobs, executor_config, dry_run, wait, distributed is not None, fresh)
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
            _print_results(db, failed.finished, as_json)
        raise
    if run_ids:
        _print_results(db, run_ids, as_json)


def _print_results(database: Path, run_ids: Sequence[str], as_json: bool) -> None:
    from frepo.store.query import json_text
    from frepo.store.tables import results_json, results_text

    found = json_text(results_json(database, run_ids)) if as_json else results_text(database, run_ids)
    typer.echo(found, nl=False)


def import_(
    checkpoint: Annotated[
        Path,
        typer.Argument(
            metavar="CHECKPOINT",
            help="A checkpoint, .npz, .safetensors, .pt, or export as these or torch.",
            show_default=False,
        ),
    ],
    spec: Annotated[
        Path,
        typer.Option(
            "--spec", metavar="SPEC", help="What to do with it.", show_default=False, autocompletion=spec_files
        ),
    ],
    overrides: Overrides = None,
    pixels: Annotated[
        bool, typer.Option("--pixels", help="Images are pixels in 0..1, not yet standardised or whitened.")
    ] = False,
    pixels_255: Annotated[bool, typer.Option("--pixels-255", help="The same, of pixels in 0..255.")] = False,
    labels: Annotated[
        Path | None, typer.Option("--labels", metavar="FILE", help="A .pt file of the labels.", show_default=False)
    ] = None,
    layout: Annotated[
        Literal["nchw", "nhwc"] | None,
        typer.Option("--layout", help="Channels come before height and width, or behind.", show_default=False),
    ] = None,
    logits: Annotated[
        bool | None,
        typer.Option("--logits/--no-logits", help="Whether soft labels are logits.", show_default=False),
    ] = None,
    offline: Offline = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
    runs_dir: RunsDir = DEFAULT_RUNS_DIR,
    db: Database = DEFAULT_DATABASE,
    data_dir: DataDir = None,
) -> None:
    """Take somebody else's distilled images in place of those that a spec would learn, and run the rest of it."""
    from frepo.exchange.imports.imported import Said, imported
    from frepo.execute import runner
    from frepo.progress import silenced
    from frepo.runtime import RuntimeOptions

    if pixels and pixels_255:
        raise SpecError("--pixels and --pixels-255 say different things of the same images: give one of them")
    said = Said(labels, 1 if pixels else 255 if pixels_255 else None, layout, logits)
    options = RuntimeOptions(runs_dir=runs_dir, database=db, data_dir=data_dir, offline=offline)
    with silenced(quiet):
        loaded = imported(checkpoint, spec, tuple(overrides or ()), options, said)
        run_ids = runner.run([loaded], options)
    _print_results(db, run_ids, as_json)

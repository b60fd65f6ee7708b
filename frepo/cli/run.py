"""Commands that take a spec: run it, import for it, check it, plan it; and what a spec may hold."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

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
    SpecFile,
    SpecFiles,
)
from frepo.errors import SpecError, SpecsFailedError
from frepo.runtime import DEFAULT_CHUNK, DEFAULT_DATABASE, DEFAULT_RUNS_DIR, Residency

if TYPE_CHECKING:
    from frepo.rundir.status import StageOutlook
    from frepo.runtime import RuntimeOptions
    from frepo.spec import LoadedSpec


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

    loaded = [experiment for found in load_all(specs, overrides, only) for experiment in found]
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


def load_all(paths: list[Path], overrides: list[str] | None, only: str | None) -> "list[list[LoadedSpec]]":
    """Return the experiments of each file that `only` picks, or say of all files that are not valid what is wrong."""
    from frepo.spec import load_specs

    loaded: list[list[LoadedSpec]] = []
    failures: list[str] = []
    for path in paths:
        try:
            loaded.append(load_specs(path, tuple(overrides or ())))
        except SpecError as error:
            failures.append(str(error))
    if failures:
        raise SpecError("\n".join(failures))
    return loaded if only is None else _picked(loaded, only)


def _picked(loaded: "list[list[LoadedSpec]]", only: str) -> "list[list[LoadedSpec]]":
    import difflib
    from fnmatch import fnmatchcase

    picked = [[entry for entry in found if fnmatchcase(entry.spec.name, only)] for found in loaded]
    if not any(picked):
        names = [entry.spec.name for found in loaded for entry in found]
        near = difflib.get_close_matches(only.replace("*", ""), names, n=3, cutoff=0)
        raise SpecError(
            f"--only {only}: no experiment of {len(names):,} has such a name; the nearest: {', '.join(near)}"
        )
    return [found for found in picked if found]


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


def check(specs: SpecFiles, overrides: Overrides = None, only: Only = None) -> None:
    """Say whether specs are valid, and what is wrong where."""
    failures: list[str] = []
    for files in [[path] for path in specs] if only is None else [specs]:
        try:
            loaded = load_all(files, overrides, only)
        except SpecError as error:
            failures.append(str(error))
            continue
        for found in loaded:
            many = f", {len(found):,} experiment{'s' if len(found) > 1 else ''}" if found[0].sweep else ""
            typer.echo(f"{found[0].path}: ok{many}")
    if failures:
        raise SpecError("\n".join(failures))


def plan(
    spec: SpecFile,
    overrides: Overrides = None,
    only: Only = None,
    cost: Annotated[
        bool,
        typer.Option("--cost", help="Time a few steps here: parameters, operations, memory and time of each stage."),
    ] = False,
    as_json: AsJson = False,
    chunk: Chunk = DEFAULT_CHUNK,
    runs_dir: RunsDir = DEFAULT_RUNS_DIR,
    data_dir: DataDir = None,
) -> None:
    """Show the stages of a spec, which are done, and which fields changed since the last result; or those of a sweep.

    Of a sweep: its axes, its experiments, and how many stages they share. With --cost, stages that differ in their seed
    only are timed once.
    """
    from frepo.runtime import RuntimeOptions

    (loaded,) = load_all([spec], overrides, only)
    options = RuntimeOptions(runs_dir=runs_dir, data_dir=data_dir, chunk=chunk)
    show = _plan_one if len(loaded) == 1 else _plan_many
    show(loaded, options, cost=cost, as_json=as_json)


def _plan_one(loaded: "list[LoadedSpec]", options: "RuntimeOptions", *, cost: bool, as_json: bool) -> None:
    import json

    from frepo.plan import compile_plan
    from frepo.rundir.status import outlook

    compiled = compile_plan(loaded[0].spec)
    stages = outlook(compiled, options.runs_dir)
    costs: dict[str, dict[str, object] | None] = {}
    if cost:
        from frepo.execute.estimate import estimate

        costs = estimate(stages, options)
    if as_json:
        rows = [
            {"stage": o.stage.directory, "status": o.status, "changes": o.changes, "identity": o.stage.identity}
            | ({"cost": costs[o.stage.directory]} if cost else {})
            for o in stages
        ]
        typer.echo(json.dumps({"run_id": compiled.run_id, "stages": rows}, indent=1))
        return
    typer.echo(compiled.run_id)
    typer.echo(_stage_table(stages), nl=False)
    if cost:
        from frepo.execute.estimate import estimate_text

        typer.echo(estimate_text(costs), nl=False)


def _plan_many(loaded: "list[LoadedSpec]", options: "RuntimeOptions", *, cost: bool, as_json: bool) -> None:
    from frepo.cli.survey import survey_cost_text, survey_json, survey_text
    from frepo.execute.survey import estimate_survey, survey

    found = survey(loaded, options.runs_dir)
    costs = estimate_survey(found, options) if cost else None
    if as_json:
        typer.echo(survey_json(found, costs))
        return
    typer.echo(survey_text(found), nl=False)
    if costs:
        typer.echo(survey_cost_text(*costs), nl=False)


def _stage_table(stages: "list[StageOutlook]") -> str:
    from frepo.store.query import Rows, format_rows

    rows: list[tuple[str, str, str]] = []
    for entry in stages:
        first, *more = entry.changes or ("",)
        rows.append((entry.stage.directory, entry.status, first))
        rows.extend(("", "", change) for change in more)
    return format_rows(Rows(("stage", "status", "changed since the last result"), tuple(rows)), "table")


def schema() -> None:
    """Print the JSON Schema of a spec, for editors."""
    import json

    from frepo.spec import json_schema

    typer.echo(json.dumps(json_schema(), indent=1))

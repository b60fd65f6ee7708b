"""The command line: parse, call one function, print."""

import sys
from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from frepo.cli.completion import run_names, spec_files
from frepo.errors import FrepoError, SpecError, SpecsFailedError
from frepo.exchange.export.formats import Format as ExportFormat
from frepo.runtime import DEFAULT_CHUNK, DEFAULT_DATABASE, DEFAULT_REPORTS, DEFAULT_RUNS_DIR, Residency

if TYPE_CHECKING:
    from frepo.rundir.status import StageOutlook
    from frepo.spec import LoadedSpec

app = typer.Typer(
    help="Dataset distillation from declarative experiment specs.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def example(*lines: str) -> str:
    """Return the end of a command's help: command lines to start from."""
    return "\b\nExample:\n" + "\n".join(f"  {line}" for line in lines)


class Format(StrEnum):
    """How `frepo query` prints rows."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"


SpecFiles = Annotated[
    list[Path],
    typer.Argument(metavar="SPEC...", help="TOML spec files.", show_default=False, autocompletion=spec_files),
]
SpecFile = Annotated[
    Path, typer.Argument(metavar="SPEC", help="A TOML spec file.", show_default=False, autocompletion=spec_files)
]
RunName = Annotated[
    str,
    typer.Argument(metavar="RUN", help="Name of a run, or its id.", show_default=False, autocompletion=run_names),
]
FirstRun = Annotated[
    str, typer.Argument(metavar="A", help="Name of a run, or its id.", show_default=False, autocompletion=run_names)
]
OtherRun = Annotated[str, typer.Argument(metavar="B", help="Another.", show_default=False, autocompletion=run_names)]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="a.b=value", help="Override a field of the spec (repeatable).")
]
RunsDir = Annotated[Path, typer.Option("--runs-dir", help="Directory of runs.")]
Database = Annotated[Path, typer.Option("--db", help="Results database.")]
DataDir = Annotated[
    Path | None, typer.Option("--data-dir", help="Directory of prepared TFDS data sets.", show_default="TFDS's own")
]
Chunk = Annotated[
    int, typer.Option(min=1, help="Distilled images that go through a network at once; fewer take less memory.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Say nothing of progress, only warnings and errors.")]


@app.command(
    epilog=example(
        "frepo run specs/quickstart.toml",
        "frepo run specs/quickstart.toml --set seed=2 --set name=quickstart-seed2 --quiet --json",
    )
)
def run(
    specs: SpecFiles,
    overrides: Overrides = None,
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
    share: Annotated[
        bool, typer.Option("--share", help="Work along with others that run this command, on stages of one's own.")
    ] = False,
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

    loaded = _load_all(specs, overrides)
    if share and (distributed or fresh):
        raise SpecError("--share goes neither with --distributed, which computes one stage together, nor with --fresh")
    options = RuntimeOptions(
        runs_dir,
        db,
        data_dir,
        Cadence.parse(checkpoint_every),
        log_every,
        residency,
        chunk,
        compile_cache,
        share,
        Processes.parse(distributed) if distributed else None,
        tensorboard,
    )
    try:
        with silenced(quiet):
            run_ids = runner.run(loaded, options, fresh=fresh)
    except SpecsFailedError as failed:
        if failed.finished:
            _print_results(db, failed.finished, as_json)
        raise
    if run_ids:
        _print_results(db, run_ids, as_json)


def _load_all(
    paths: list[Path], overrides: list[str] | None, done: Callable[[Path], None] | None = None
) -> "list[LoadedSpec]":
    """Return all specs, `done` called for each one that is valid, or say of all that are not what is wrong."""
    from frepo.spec import load_spec

    loaded: list[LoadedSpec] = []
    failures: list[str] = []
    for path in paths:
        try:
            loaded.append(load_spec(path, tuple(overrides or ())))
        except SpecError as error:
            failures.append(str(error))
        else:
            if done:
                done(path)
    if failures:
        raise SpecError("\n".join(failures))
    return loaded


def _print_results(database: Path, run_ids: Sequence[str], as_json: bool) -> None:
    from frepo.store.query import json_text
    from frepo.store.tables import results_json, results_text

    found = json_text(results_json(database, run_ids)) if as_json else results_text(database, run_ids)
    typer.echo(found, nl=False)


@app.command("import", epilog=example("frepo import checkpoint_65.13 --spec specs/paper/cifar10_ipc10.toml"))
def import_(
    checkpoint: Annotated[
        Path,
        typer.Argument(
            metavar="CHECKPOINT",
            help="A checkpoint, .npz, .safetensors, or export as these or torch.",
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
    quiet: Quiet = False,
    as_json: AsJson = False,
    runs_dir: RunsDir = DEFAULT_RUNS_DIR,
    db: Database = DEFAULT_DATABASE,
    data_dir: DataDir = None,
) -> None:
    """Take somebody else's distilled images in place of those that a spec would learn, and run the rest of it."""
    from frepo.exchange.imports.run import import_data
    from frepo.progress import silenced
    from frepo.runtime import RuntimeOptions

    if pixels and pixels_255:
        raise SpecError("--pixels and --pixels-255 say different things of the same images: give one of them")
    largest = 1 if pixels else 255 if pixels_255 else None
    options = RuntimeOptions(runs_dir, db, data_dir)
    with silenced(quiet):
        run_ids = import_data(checkpoint, spec, tuple(overrides or ()), options, pixels=largest)
    _print_results(db, run_ids, as_json)


@app.command(epilog=example("frepo export quickstart --format torch --out exported"))
def export(
    run: RunName,
    kind: Annotated[ExportFormat, typer.Option("--format", help="What to write.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", help="Directory to write to; it must not exist.", show_default=False)],
    stage: Annotated[
        str | None,
        typer.Option("--stage", metavar="LABEL", help="Stage whose images to write, as `frepo plan` names it."),
    ] = None,
    runs_dir: RunsDir = DEFAULT_RUNS_DIR,
    data_dir: DataDir = None,
) -> None:
    """Write the images of a run for use elsewhere, with preprocessing, labels, recipe and a README."""
    from frepo.exchange.export.run import export_run
    from frepo.runtime import RuntimeOptions

    typer.echo(export_run(run, kind, out, RuntimeOptions(runs_dir=runs_dir, data_dir=data_dir), stage))


@app.command(epilog=example("frepo check specs/quickstart.toml"))
def check(specs: SpecFiles, overrides: Overrides = None) -> None:
    """Say whether specs are valid, and what is wrong where."""
    _load_all(specs, overrides, lambda path: typer.echo(f"{path}: ok"))


@app.command(
    epilog=example(
        "frepo plan specs/quickstart.toml --set application.0.num_models=10",
        "frepo plan specs/cpu/cifar10_ipc10.toml --cost",
    )
)
def plan(
    spec: SpecFile,
    overrides: Overrides = None,
    cost: Annotated[
        bool,
        typer.Option("--cost", help="Time a few steps here: parameters, operations, memory and time of each stage."),
    ] = False,
    as_json: AsJson = False,
    chunk: Chunk = DEFAULT_CHUNK,
    runs_dir: RunsDir = DEFAULT_RUNS_DIR,
    data_dir: DataDir = None,
) -> None:
    """Show the stages of a spec, which of them are done, and which fields changed since the last result."""
    import json

    from frepo.plan import compile_plan
    from frepo.rundir.status import outlook
    from frepo.runtime import RuntimeOptions
    from frepo.spec import load_spec

    compiled = compile_plan(load_spec(spec, tuple(overrides or ())).spec)
    stages = outlook(compiled, runs_dir)
    costs: dict[str, dict[str, object] | None] = {}
    if cost:
        from frepo.execute.estimate import estimate

        costs = estimate(stages, RuntimeOptions(runs_dir=runs_dir, data_dir=data_dir, chunk=chunk))
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


def _stage_table(stages: "list[StageOutlook]") -> str:
    from frepo.store.query import Rows, format_rows

    rows: list[tuple[str, str, str]] = []
    for entry in stages:
        first, *more = entry.changes or ("",)
        rows.append((entry.stage.directory, entry.status, first))
        rows.extend(("", "", change) for change in more)
    return format_rows(Rows(("stage", "status", "changed since the last result"), tuple(rows)), "table")


@app.command(epilog=example("frepo runs", "frepo runs --format json"))
def runs(
    output: Annotated[Format, typer.Option("--format", help="How to print.")] = Format.TABLE,
    db: Database = DEFAULT_DATABASE,
) -> None:
    """List the runs in the database."""
    from frepo.store.query import format_rows
    from frepo.store.tables import list_runs

    typer.echo(format_rows(list_runs(db), output.value), nl=False)


@app.command(epilog=example("frepo compare quickstart quickstart-seed2"))
def compare(a: FirstRun, b: OtherRun, as_json: AsJson = False, db: Database = DEFAULT_DATABASE) -> None:
    """Show in what two runs differ: fields of their specs, and accuracies, with whether chance would explain it."""
    from frepo.store.compare import compare as compare_runs
    from frepo.store.compare import comparison_text
    from frepo.store.query import json_text

    found = compare_runs(db, a, b)
    typer.echo(json_text(found.to_json()) if as_json else comparison_text(found), nl=False)


@app.command(epilog=example("frepo ingest --runs-dir runs --db results.duckdb"))
def ingest(runs_dir: RunsDir = DEFAULT_RUNS_DIR, db: Database = DEFAULT_DATABASE) -> None:
    """Bring the database up to date with the run directories; rebuilds one that is missing or of an older frepo."""
    from frepo.store.ingest import ingest as ingest_runs

    if not runs_dir.is_dir():
        raise FrepoError(f"there is no run directory {runs_dir}; name another with --runs-dir")
    found = ingest_runs(db, runs_dir)
    typer.echo(f"{found.runs} runs in {db}")
    if found.problems:
        raise FrepoError("\n".join((f"not all could be taken into {db}:", *found.problems)))


@app.command(epilog=example('frepo query "SELECT name, source, top1_mean, top1_ci95 FROM accuracy_table" --format csv'))
def query(
    sql: Annotated[str, typer.Argument(metavar="SQL", help="SQL that only reads.", show_default=False)],
    output: Annotated[Format, typer.Option("--format", help="How to print.")] = Format.TABLE,
    db: Database = DEFAULT_DATABASE,
) -> None:
    """Ask the database; it cannot be changed this way."""
    from frepo.store.query import format_rows
    from frepo.store.query import query as run_query

    typer.echo(format_rows(run_query(db, sql), output.value), nl=False)


@app.command(
    epilog=example("frepo report", "frepo report quickstart --out reports", "frepo report quickstart quickstart-seed2")
)
def report(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME]...",
            help="Runs to show in full, several side by side; all where left out.",
            autocompletion=run_names,
        ),
    ] = None,
    out: Annotated[Path, typer.Option("--out", help="Directory to write to.")] = DEFAULT_REPORTS,
    runs_dir: RunsDir = DEFAULT_RUNS_DIR,
    db: Database = DEFAULT_DATABASE,
) -> None:
    """Write a self-contained HTML page: NAME.html of one run, comparison.html of several, report.html of all."""
    from frepo.report.page import write_report

    typer.echo(write_report(db, runs_dir, names or [], out))


data_app = typer.Typer(help="List and prepare data sets.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(data_app, name="data")


@data_app.command("list", epilog=example("frepo data list"))
def data_list(
    output: Annotated[Format, typer.Option("--format", help="How to print.")] = Format.TABLE, data_dir: DataDir = None
) -> None:
    """List known data sets, their size, and where they are prepared."""
    from frepo.data.catalog import COLUMNS, catalog
    from frepo.runtime import RuntimeOptions
    from frepo.store.query import Rows, format_rows

    rows = catalog(RuntimeOptions(data_dir=data_dir).tfds_dir)
    typer.echo(format_rows(Rows(COLUMNS, tuple(rows)), output.value), nl=False)


@data_app.command(
    "prepare",
    epilog=example("frepo data prepare cifar10", "frepo data prepare imagenette --from imagenette2.tgz"),
)
def data_prepare(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of a data set.", show_default=False)],
    origin: Annotated[
        Path | None, typer.Option("--from", help="Its archive, or the folder it unpacks to.", show_default=False)
    ] = None,
    data_dir: DataDir = None,
) -> None:
    """Prepare a data set: from its archive, or by downloading it (needs the extra `tf`)."""
    from frepo.data.catalog import prepare
    from frepo.runtime import RuntimeOptions

    typer.echo(prepare(name, origin, RuntimeOptions(data_dir=data_dir).tfds_dir))


@app.command(epilog=example("frepo schema > schema.json"))
def schema() -> None:
    """Print the JSON Schema of a spec, for editors."""
    import json

    from frepo.spec import json_schema

    typer.echo(json.dumps(json_schema(), indent=1))


def main() -> None:
    """Run the command line; errors of the user end in a message and the exit code of their kind."""
    try:
        app(prog_name="frepo")
    except FrepoError as error:
        typer.echo(f"{'' if isinstance(error, SpecError) else 'frepo: '}{error}", err=True)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()

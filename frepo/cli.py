"""The command line: parse, call one function, print."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, cast

import typer

from frepo.errors import FrepoError, SpecError
from frepo.export.formats import FORMATS
from frepo.export.formats import Format as ExportFormat
from frepo.runtime import DEFAULT_CHUNK, DEFAULT_DATABASE, DEFAULT_RUNS_DIR, Residency

app = typer.Typer(
    help="Dataset distillation from declarative experiment specs.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


class Format(StrEnum):
    """How `frepo query` prints rows."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"


SpecFiles = Annotated[list[Path], typer.Argument(metavar="SPEC...", help="TOML spec files.", show_default=False)]
SpecFile = Annotated[Path, typer.Argument(metavar="SPEC", help="A TOML spec file.", show_default=False)]
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


@app.command()
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
    runs_dir: RunsDir = DEFAULT_RUNS_DIR,
    db: Database = DEFAULT_DATABASE,
    data_dir: DataDir = None,
) -> None:
    """Run specs; the same command again resumes what was stopped and skips what is done."""
    from frepo import runner
    from frepo.runtime import Cadence, Processes, RuntimeOptions
    from frepo.spec import load_spec
    from frepo.store.tables import results_text

    loaded = [load_spec(path, tuple(overrides or ())) for path in specs]
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
    )
    run_ids = runner.run(loaded, options, fresh=fresh)
    if run_ids:
        typer.echo(results_text(db, run_ids), nl=False)


@app.command("import")
def import_(
    checkpoint: Annotated[
        Path, typer.Argument(metavar="CHECKPOINT", help="A checkpoint, .npz or .safetensors.", show_default=False)
    ],
    spec: Annotated[Path, typer.Option("--spec", metavar="SPEC", help="What to do with it.", show_default=False)],
    overrides: Overrides = None,
    pixels: Annotated[
        bool, typer.Option("--pixels", help="Images are pixels in 0..1, not yet standardised or whitened.")
    ] = False,
    runs_dir: RunsDir = DEFAULT_RUNS_DIR,
    db: Database = DEFAULT_DATABASE,
    data_dir: DataDir = None,
) -> None:
    """Take somebody else's distilled images in place of those that a spec would learn, and run the rest of it."""
    from frepo.importing import import_data
    from frepo.runtime import RuntimeOptions
    from frepo.store.tables import results_text

    options = RuntimeOptions(runs_dir, db, data_dir)
    run_ids = import_data(checkpoint, spec, tuple(overrides or ()), options, pixels=pixels)
    typer.echo(results_text(db, run_ids), nl=False)


@app.command()
def export(
    name: Annotated[str, typer.Argument(metavar="RUN", help="Name of a run, or its id.", show_default=False)],
    kind: Annotated[
        str, typer.Option("--format", metavar="|".join(FORMATS), help="What to write.", show_default=False)
    ],
    out: Annotated[Path, typer.Option("--out", help="Directory to write to; it must not exist.", show_default=False)],
    runs_dir: RunsDir = DEFAULT_RUNS_DIR,
    data_dir: DataDir = None,
) -> None:
    """Write the images of a run for use elsewhere, with preprocessing, labels, recipe and a README."""
    from frepo.export.run import export_run
    from frepo.runtime import RuntimeOptions

    if kind not in FORMATS:
        raise SpecError(f"--format {kind}: allowed are {', '.join(FORMATS)}")
    typer.echo(export_run(name, cast("ExportFormat", kind), out, RuntimeOptions(runs_dir=runs_dir, data_dir=data_dir)))


@app.command()
def check(specs: SpecFiles, overrides: Overrides = None) -> None:
    """Say whether specs are valid, and what is wrong where."""
    from frepo.spec import load_spec

    failures = []
    for path in specs:
        try:
            load_spec(path, tuple(overrides or ()))
        except SpecError as error:
            failures.append(str(error))
        else:
            typer.echo(f"{path}: ok")
    if failures:
        raise SpecError("\n".join(failures))


@app.command()
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

    from frepo.outlook import outlook
    from frepo.plan import compile_plan
    from frepo.runtime import RuntimeOptions
    from frepo.spec import load_spec

    compiled = compile_plan(load_spec(spec, tuple(overrides or ())).spec)
    stages = outlook(compiled, runs_dir)
    costs: dict[str, dict[str, object] | None] = {}
    if cost:
        from frepo.estimate import estimate

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
    width = max(len(entry.stage.directory) for entry in stages) if stages else 0
    for entry in stages:
        typer.echo(f"  {entry.stage.directory:<{width}}  {entry.status}")
        for change in entry.changes:
            typer.echo(f"      {change}")
    if cost:
        from frepo.estimate import estimate_text

        typer.echo(estimate_text(costs), nl=False)


@app.command()
def runs(
    output: Annotated[Format, typer.Option("--format", help="How to print.")] = Format.TABLE,
    db: Database = DEFAULT_DATABASE,
) -> None:
    """List the runs in the database."""
    from frepo.store.query import format_rows
    from frepo.store.tables import list_runs

    typer.echo(format_rows(list_runs(db), output.value), nl=False)


@app.command()
def ingest(runs_dir: RunsDir = DEFAULT_RUNS_DIR, db: Database = DEFAULT_DATABASE) -> None:
    """Bring the database up to date with the run directories; rebuilds it where it is missing."""
    from frepo.store.ingest import ingest as ingest_runs

    if not runs_dir.is_dir():
        raise FrepoError(f"there is no run directory {runs_dir}; name another with --runs-dir")
    typer.echo(f"{ingest_runs(db, runs_dir)} runs in {db}")


@app.command()
def query(
    sql: Annotated[str, typer.Argument(metavar="SQL", help="SQL that only reads.", show_default=False)],
    output: Annotated[Format, typer.Option("--format", help="How to print.")] = Format.TABLE,
    db: Database = DEFAULT_DATABASE,
) -> None:
    """Ask the database; it cannot be changed this way."""
    from frepo.store.query import format_rows
    from frepo.store.query import query as run_query

    typer.echo(format_rows(run_query(db, sql), output.value), nl=False)


@app.command()
def report(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME]...", help="Runs to show in full, several side by side; all where left out."),
    ] = None,
    out: Annotated[Path, typer.Option("--out", help="Directory to write to.")] = Path("reports"),
    runs_dir: RunsDir = DEFAULT_RUNS_DIR,
    db: Database = DEFAULT_DATABASE,
) -> None:
    """Write a self-contained HTML page: NAME.html of one run, comparison.html of several, report.html of all."""
    from frepo.report.page import write_report

    typer.echo(write_report(db, runs_dir, names or [], out))


data_app = typer.Typer(help="List and prepare data sets.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(data_app, name="data")


@data_app.command("list")
def data_list(
    output: Annotated[Format, typer.Option("--format", help="How to print.")] = Format.TABLE, data_dir: DataDir = None
) -> None:
    """List known data sets, their size, and where they are prepared."""
    from frepo.data.catalog import COLUMNS, catalog
    from frepo.runtime import RuntimeOptions
    from frepo.store.query import Rows, format_rows

    rows = catalog(RuntimeOptions(data_dir=data_dir).tfds_dir)
    typer.echo(format_rows(Rows(COLUMNS, tuple(rows)), output.value), nl=False)


@data_app.command("prepare")
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


@app.command()
def schema() -> None:
    """Print the JSON Schema of a spec, for editors."""
    import json

    from frepo.spec import json_schema

    typer.echo(json.dumps(json_schema(), indent=1))


def main() -> None:
    """Run the command line; errors of the user end in a message and the exit code of their kind."""
    try:
        app()
    except FrepoError as error:
        typer.echo(f"{'' if isinstance(error, SpecError) else 'frepo: '}{error}", err=True)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()

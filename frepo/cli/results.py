"""Commands about results: list, compare, ingest, query, table, report."""

from pathlib import Path
from typing import Annotated

import typer

from frepo.cli.completion import run_names
from frepo.cli.options import AsJson, Database, Figures, FirstRun, Format, OtherRun, RunsDir
from frepo.errors import FrepoError, SpecError
from frepo.runtime import DEFAULT_DATABASE, DEFAULT_REPORTS, DEFAULT_RUNS_DIR


def runs(
    output: Annotated[Format, typer.Option("--format", help="How to print.")] = Format.TABLE,
    db: Database = DEFAULT_DATABASE,
) -> None:
    """List the runs in the database."""
    from frepo.store.tables import list_runs
    from frepo.store.text import format_rows

    typer.echo(format_rows(list_runs(db), output.value), nl=False)


def compare(a: FirstRun, b: OtherRun, as_json: AsJson = False, db: Database = DEFAULT_DATABASE) -> None:
    """Show in what two runs differ: fields of their specs, and accuracies, with whether chance would explain it."""
    from frepo.store.compare import compare as compare_runs
    from frepo.store.compare import comparison_text
    from frepo.store.find import as_recorded
    from frepo.store.text import json_text

    with as_recorded(db):
        found = compare_runs(db, a, b)
        text = json_text(found.to_json()) if as_json else comparison_text(found)
    typer.echo(text, nl=False)


def ingest(runs_dir: RunsDir = DEFAULT_RUNS_DIR, db: Database = DEFAULT_DATABASE) -> None:
    """Bring the database up to date with the run directories; rebuilds one that is missing or of an older frepo."""
    from frepo.store.ingest import ingest as ingest_runs

    if not runs_dir.is_dir():
        raise FrepoError(f"there is no run directory {runs_dir}; name another with --runs-dir")
    found = ingest_runs(db, runs_dir)
    typer.echo(f"{found.runs} runs in {db}")
    if found.problems:
        raise FrepoError("\n".join((f"not all could be taken into {db}:", *found.problems)))


def query(
    sql: Annotated[str, typer.Argument(metavar="SQL", help="SQL that only reads.", show_default=False)],
    output: Annotated[Format, typer.Option("--format", help="How to print.")] = Format.TABLE,
    db: Database = DEFAULT_DATABASE,
) -> None:
    """Ask the database; it cannot be changed this way."""
    from frepo.store.query import query as run_query
    from frepo.store.text import format_rows

    typer.echo(format_rows(run_query(db, sql), output.value), nl=False)


def table(
    sweep: Annotated[
        str,
        typer.Argument(
            metavar="FILE|NAME",
            help="A spec file that names a sweep, or the name of a sweep or run.",
            show_default=False,
            autocompletion=run_names,
        ),
    ],
    rows: Annotated[str, typer.Option(metavar="FIELD[,FIELD]...", help="What each row is a value of.")],
    columns: Annotated[str, typer.Option(metavar="FIELD[,FIELD]...", help="What each column is a value of.")],
    source: Annotated[
        str,
        typer.Option(help="Networks were trained on: distilled, random, ...; own: whatever each run made or chose."),
    ] = "own",
    where: Annotated[
        list[str] | None,
        typer.Option(metavar="FIELD=VALUE", help="Take accuracies in which a field has a value (repeatable)."),
    ] = None,
    output: Annotated[Format, typer.Option("--format", help="How to print.")] = Format.TABLE,
    db: Database = DEFAULT_DATABASE,
) -> None:
    """Print accuracies of a sweep as a table: mean ± std over seeds, published numbers in rows of their own.

    A field is a column of the view seed_table, as dataset, ipc, method or architecture, the seed, or an axis of the
    sweep, as distill.steps, or steps for short. CSV and JSON have a row for each cell, with all its numbers.
    """
    from frepo.store.find import as_recorded
    from frepo.store.pivot import make_pivot
    from frepo.store.pivot_text import pivot_text

    conditions = dict(_condition(text) for text in where or ())
    name, runs = _sweep(sweep)
    down, across = rows.split(","), columns.split(",")
    with as_recorded(db):
        pivot = make_pivot(db, name, down, across, source=source, where=conditions, runs=runs)
        text = pivot_text(pivot, output.value)
    typer.echo(text, nl=False)


def _condition(text: str) -> tuple[str, str]:
    field, equals, value = text.partition("=")
    if not equals or not field:
        raise SpecError(f"--where {text}: write field=value, for example predictor=network")
    return field, value


def _sweep(argument: str) -> tuple[str, list[str] | None]:
    """Return the name of the sweep in a spec file and the names of its runs; of what is no file the name alone."""
    if not argument.endswith(".toml"):
        return argument, None
    from frepo.spec import load_specs

    loaded = load_specs(Path(argument))
    return loaded[0].sweep or loaded[0].spec.name, [each.spec.name for each in loaded]


def report(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME]...",
            help="Runs to show in full, several side by side; all where left out.",
            autocompletion=run_names,
        ),
    ] = None,
    sweep: Annotated[
        str | None,
        typer.Option("--sweep", metavar="NAME", help="Write the page of this sweep in place of that of runs."),
    ] = None,
    figures: Annotated[
        Figures | None,
        typer.Option(
            "--figures",
            help="Write the charts of the page as files for a paper in place of it: figures/NAME/CHART.svg, or .pdf.",
            show_default="the page",
        ),
    ] = None,
    out: Annotated[Path, typer.Option("--out", help="Directory to write to.")] = DEFAULT_REPORTS,
    runs_dir: RunsDir = DEFAULT_RUNS_DIR,
    db: Database = DEFAULT_DATABASE,
) -> None:
    """Write a self-contained HTML page: NAME.html of one run, comparison.html of several, report.html of all.

    The page of a sweep is sweep-NAME.html.
    """
    if names and sweep is not None:
        raise typer.BadParameter("name runs, or a sweep, not both")
    from frepo.store.find import as_recorded

    with as_recorded(db):
        paths = _written(names or [], sweep, figures, out, runs_dir, db)
    typer.echo("\n".join(map(str, paths)))


def _written(
    names: list[str], sweep: str | None, figures: Figures | None, out: Path, runs_dir: Path, db: Path
) -> list[Path]:
    if figures is not None:
        from frepo.report.figures import write_figures, write_sweep_figures

        kind = figures.value
        return write_figures(db, names, out, kind) if sweep is None else write_sweep_figures(db, sweep, out, kind)
    if sweep is not None:
        from frepo.report.sweep import write_sweep

        return [write_sweep(db, runs_dir, sweep, out)]
    from frepo.report.page import write_report

    return [write_report(db, runs_dir, names, out)]

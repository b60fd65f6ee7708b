"""The command that writes the images of a run for use elsewhere."""

from pathlib import Path
from typing import Annotated

import typer

from frepo.cli.options import DataDir, RunName, RunsDir
from frepo.exchange.export import Format as ExportFormat
from frepo.runtime import DEFAULT_RUNS_DIR


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

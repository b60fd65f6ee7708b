"""Arguments and options that several commands share."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from frepo.cli.completion import run_names, spec_files


class Format(StrEnum):
    """How rows are printed."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"
    LATEX = "latex"
    MARKDOWN = "markdown"


class Figures(StrEnum):
    """Formats of charts as files."""

    SVG = "svg"
    PDF = "pdf"


SpecFiles = Annotated[
    list[Path],
    typer.Argument(metavar="SPEC...", help="TOML spec files.", show_default=False, autocompletion=spec_files),
]
OptionalSpecFiles = Annotated[
    list[Path] | None,
    typer.Argument(metavar="[SPEC]...", help="TOML spec files; all runs where left out.", autocompletion=spec_files),
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
Only = Annotated[
    str | None,
    typer.Option(
        "--only", metavar="GLOB", help="Of a sweep, take the experiments with such names.", show_default=False
    ),
]
RunsDir = Annotated[Path, typer.Option("--runs-dir", help="Directory of runs.")]
Database = Annotated[Path, typer.Option("--db", help="Results database.")]
DataDir = Annotated[
    Path | None, typer.Option("--data-dir", help="Directory of prepared data sets.", show_default="TFDS's own")
]
Offline = Annotated[bool, typer.Option("--offline", help="Fetch no data set that is not there.")]
Chunk = Annotated[
    int, typer.Option(min=1, help="Micro-batch size: support images in a network at once; fewer take less memory.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Say nothing of progress, only warnings and errors.")]

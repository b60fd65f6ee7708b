"""Commands about data sets: list, prepare."""

from pathlib import Path
from typing import Annotated

import typer

from frepo.cli.options import DataDir, Format


def data_list(
    output: Annotated[Format, typer.Option("--format", help="How to print.")] = Format.TABLE, data_dir: DataDir = None
) -> None:
    """List known data sets: size, licence, and where they are prepared; as CSV or JSON also what to cite."""
    from frepo.data.catalog import CITATION, COLUMNS, catalog
    from frepo.runtime import RuntimeOptions
    from frepo.store.text import Rows, format_rows

    rows = catalog(RuntimeOptions(data_dir=data_dir).tfds_dir)
    shown = [number for number, name in enumerate(COLUMNS) if output is not Format.TABLE or name != CITATION]
    found = Rows(tuple(COLUMNS[n] for n in shown), tuple(tuple(row[n] for n in shown) for row in rows))
    typer.echo(format_rows(found, output.value), nl=False)


def data_prepare(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of a data set.", show_default=False)],
    origin: Annotated[
        Path | None, typer.Option("--from", help="The publisher's file, or a folder of them.", show_default=False)
    ] = None,
    revision: Annotated[
        str | None,
        typer.Option(help="Of hf://OWNER/NAME: a commit, branch or tag; left out: the newest.", show_default=False),
    ] = None,
    config: Annotated[
        str | None, typer.Option(help="Of hf://OWNER/NAME: its configuration.", show_default=False)
    ] = None,
    train_split: Annotated[
        str | None, typer.Option(help="Of hf://OWNER/NAME: the split to train on.", show_default=False)
    ] = None,
    test_split: Annotated[
        str | None, typer.Option(help="Of hf://OWNER/NAME: the split to test on.", show_default=False)
    ] = None,
    data_dir: DataDir = None,
) -> None:
    """Prepare a data set: fetch it, or take the publisher's files; those of TFDS need the extra `tf`."""
    from frepo.data.prepare import prepare
    from frepo.runtime import RuntimeOptions

    given = {"revision": revision, "config": config, "train_split": train_split, "test_split": test_split}
    fields = {field: value for field, value in given.items() if value}
    typer.echo(prepare(name, origin, RuntimeOptions(data_dir=data_dir).tfds_dir, fields))

"""The command line: parse, call one function, print. Here are its commands, in the order in which help lists them."""

import gc
import sys

import typer

from frepo.cli import data, export, foreign, results, run, running, specs, work
from frepo.cli.pages import start_with_large_pages
from frepo.errors import FrepoError, SpecError, printable


def example(*lines: str) -> str:
    """Return the end of a command's help: command lines to start from."""
    return "\b\nExample:\n" + "\n".join(f"  {line}" for line in lines)


app = typer.Typer(
    help="Dataset distillation from declarative experiment specs.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command(
    epilog=example(
        "frepo run specs/quickstart.toml",
        "frepo run specs/quickstart.toml --set seed=2 --set name=quickstart-seed2 --quiet --json",
    )
)(run.run)
app.command("import", epilog=example("frepo import checkpoint_65.13 --spec specs/paper/cifar10_ipc10.toml"))(
    foreign.import_
)
app.command(
    epilog=example(
        "frepo score images_best.pt --dataset cifar10 --recipe mtt",
        "frepo score set.npz --dataset mnist --pixels --set application.num_models=3 --no-fair-scores",
    )
)(foreign.score)
app.command(epilog=example("frepo recipes"))(foreign.recipes)
app.command(epilog=example("frepo export quickstart --format torch --out exported"))(export.export)
app.command(epilog=example("frepo check specs/quickstart.toml"))(specs.check)
app.command(
    epilog=example(
        "frepo plan specs/quickstart.toml --set application.0.num_models=10",
        "frepo plan specs/cpu/cifar10_ipc10.toml --cost",
    )
)(specs.plan)
app.command(epilog=example("frepo status specs/cpu/sweep_digits.toml", "frepo status"))(running.status)
app.command(epilog=example("frepo cancel specs/cpu/sweep_digits.toml"))(running.cancel)
app.command(epilog=example("frepo verify", "frepo verify quickstart 'sweep-digits-*'"))(running.verify)
app.command(epilog=example("frepo rm quickstart-seed2", "frepo rm 'sweep-digits-*' --dry-run"))(running.rm)
app.command(epilog=example("frepo runs", "frepo runs --format json"))(results.runs)
app.command(epilog=example("frepo compare quickstart quickstart-seed2"))(results.compare)
app.command(epilog=example("frepo ingest --runs-dir runs --db results.duckdb"))(results.ingest)
app.command(epilog=example('frepo query "SELECT name, source, top1_mean, top1_ci95 FROM accuracy_table" --format csv'))(
    results.query
)
app.command(
    epilog=example(
        "frepo table specs/cpu/sweep_digits.toml --rows method --columns ipc",
        "frepo table main-table --rows dataset,method --columns ipc --format latex > table.tex",
    )
)(results.table)
app.command(
    epilog=example(
        "frepo report",
        "frepo report quickstart --out reports",
        "frepo report quickstart quickstart-seed2",
        "frepo report quickstart --figures pdf",
        "frepo report --sweep sweep-digits",
    )
)(results.report)
app.command(epilog=example("frepo schema > schema.json"))(specs.schema)
app.command(hidden=True)(work.work)

data_app = typer.Typer(help="List and prepare data sets.", no_args_is_help=True, rich_markup_mode=None)
data_app.command("list", epilog=example("frepo data list"))(data.data_list)
data_app.command(
    "prepare",
    epilog=example("frepo data prepare cifar10", "frepo data prepare imagenette --from imagenette2.tgz"),
)(data.data_prepare)
app.add_typer(data_app, name="data")


def main() -> None:
    """Run the command line; errors of the user end in a message and the exit code of their kind."""
    start_with_large_pages()
    gc.set_threshold(100_000, 50, 100)  # JAX makes many objects and little garbage: this was a tenth of a start
    try:
        app(prog_name="frepo")
    except FrepoError as error:
        typer.echo(printable(f"{'' if isinstance(error, SpecError) else 'frepo: '}{error}"), err=True)
        sys.exit(error.exit_code)
    except OSError as error:  # a full disk, a directory gone or read-only: where nothing nearer had a better word
        typer.echo(f"frepo: {error}; what was saved before is intact, run the same command again to go on", err=True)
        sys.exit(FrepoError.exit_code)

"""The charts of a page as files for a paper."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from frepo.errors import FrepoError
from frepo.report.charts import Chart, Kind
from frepo.report.gather import gather, report_runs
from frepo.report.page import in_full, write_out
from frepo.report.sections import results
from frepo.report.sweep import read_sweep

FOLDER = "figures"
"""Below the directory of reports."""


def write_figures(database: Path, names: Sequence[str], out: Path, kind: Kind) -> list[Path]:
    """Write the charts of the runs that the page of `names` shows in full, and return their paths.

    A chart becomes `out/figures/<run>/<chart>.<kind>`, where <run> is the run's name, or its id where the name is not
    enough to tell two of the runs apart.

    Raises:
        FrepoError: the database lacks a name, the runs have no chart, or a file cannot be written.
    """
    runs = in_full(report_runs(database, names), names)
    run_names = [run["name"] for run in runs]
    written: list[Path] = []
    for data in gather(database, runs):
        folder = data.run["name"] if run_names.count(data.run["name"]) == 1 else data.run["run_id"]
        written += write_charts(results(data).charts, out / FOLDER / folder, kind)
    if not written:
        raise FrepoError(
            f"there is no chart of {', '.join(run_names)}: a chart shows metrics of several steps, several "
            "architectures, continual learning or membership inference; `frepo report` writes the page"
        )
    return written


def write_sweep_figures(database: Path, name: str, out: Path, kind: Kind) -> list[Path]:
    """Write the charts of a sweep to `out/figures/sweep-<name>/<chart>.<kind>`, and return their paths.

    Raises:
        FrepoError: the database lacks the sweep, the sweep has no chart, or a file cannot be written.
    """
    written = write_charts(read_sweep(database, name).charts, out / FOLDER / f"sweep-{name}", kind)
    if not written:
        raise FrepoError(
            f"there is no chart of sweep {name}: a chart shows accuracies along an axis of several numbers"
        )
    return written


def write_charts(charts: Iterable[Chart], folder: Path, kind: Kind) -> list[Path]:
    """Write each chart to a file of its own in `folder`, and return their paths.

    Raises:
        FrepoError: a file cannot be written.
    """
    return [write_out(folder / f"{chart.key}.{kind}", chart.figure(kind)) for chart in charts]

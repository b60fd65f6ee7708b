"""From the database and the run directories' images to one self-contained HTML page."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

import frepo
from frepo.errors import FrepoError
from frepo.files import write_atomically
from frepo.provenance import now
from frepo.report.continual import ContinualSection, continual_section
from frepo.report.curves import curves_svg
from frepo.report.gather import RunData, gather
from frepo.report.grid import Grid, load_grid
from frepo.report.matrix import Matrix, cross_architecture_matrix
from frepo.report.membership import MembershipSection, membership_section
from frepo.store.tables import network_text, percent


@dataclass(frozen=True)
class Gallery:
    """The images of one stage: what it started from and what came of it."""

    title: str
    class_names: list[str]
    grids: list[Grid]
    missing: list[str]


@dataclass(frozen=True)
class RunSection:
    """A run as the template shows it."""

    data: RunData
    curves: list[Markup]
    galleries: list[Gallery]
    matrix: Matrix | None
    continual: ContinualSection | None
    membership: MembershipSection | None


def write_report(database: Path, runs_dir: Path, names: Sequence[str], out: Path) -> Path:
    """Write the page of the newest run of each of `names`, or of all, and return its path.

    The page is `<name>.html` for one name and `report.html` otherwise; it needs no other file and no network.

    Raises:
        FrepoError: the database lacks a name, or `out` cannot be written.
    """
    sections = [_section(data, runs_dir) for data in gather(database, names)]
    html = (
        _environment()
        .get_template("report.html.j2")
        .render(
            sections=sections,
            title=names[0] if len(names) == 1 else "frepo report",
            published_in=sorted(
                {row["published_in"] for s in sections for row in s.data.accuracies if row["published_in"]}
            ),
            version=frepo.__version__,
            written=now(),
        )
    )
    path = out / (f"{names[0]}.html" if len(names) == 1 else "report.html")
    try:
        out.mkdir(parents=True, exist_ok=True)
        write_atomically(path, html.encode())
    except OSError as error:
        raise FrepoError(f"{path} cannot be written: {error.strerror}; name another directory with --out") from None
    return path


def _section(data: RunData, runs_dir: Path) -> RunSection:
    labels = {stage["stage"]: _short_label(stage) for stage in data.stages}
    curves = [Markup(svg) for svg in curves_svg(data.metrics, labels)]  # noqa: S704 (Vega escapes text)
    galleries = [_gallery(data, stage, runs_dir) for stage in data.stages if _images(data, stage)]
    return RunSection(
        data,
        curves,
        galleries,
        cross_architecture_matrix(data.networks),
        continual_section(data.continual_steps, data.continual_summary),
        membership_section(data.attacks),
    )


def _gallery(data: RunData, stage: dict[str, Any], runs_dir: Path) -> Gallery:
    directory = runs_dir / stage["run"] / stage["stage"]
    grids: list[Grid] = []
    missing: list[str] = []
    for row in _images(data, stage):
        grid = load_grid(directory, row)
        if grid:
            grids.append(grid)
        else:
            missing.append(str(directory / row["path"]))
    return Gallery(_short_label(stage), stage["class_names"] or [], grids, missing)


def _images(data: RunData, stage: dict[str, Any]) -> list[dict[str, Any]]:
    return [row for row in data.images if row["stage"] == stage["stage"]]


def _short_label(stage: dict[str, Any]) -> str:
    return str(stage["label"]).removeprefix("evaluate-")


def _environment() -> Environment:
    packaged = Path(frepo.__file__).parent / "templates"
    directory = packaged if packaged.is_dir() else packaged.parents[1] / "templates"  # the second in a source tree
    environment = Environment(
        loader=FileSystemLoader(directory),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = lambda share: f"{100 * share:.1f}"
    environment.filters["mebibytes"] = lambda count: f"{count / 2**20:,.0f} MiB" if count else "–"
    environment.filters["seconds"] = lambda count: f"{count:,.1f} s" if count is not None else "–"
    environment.globals["mean_and_deviation"] = percent
    environment.globals["network_text"] = network_text
    return environment

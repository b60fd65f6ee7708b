"""The page of a sweep: its numbers as a table and curves, and a few of its images."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from frepo.errors import FrepoError, near_text
from frepo.report.axes import MOST_CHARTS, Axis, Point, axes_of, coordinates, curves_of, grid_of, points_of
from frepo.report.charts import Chart
from frepo.report.gallery import Thumbnail, load_thumbnail, stage_directory
from frepo.report.page import environment, published_in, write_out
from frepo.store.find import runs_of
from frepo.store.query import query
from frepo.store.seeds import seed_rows

RowDict = dict[str, Any]

MOST_THUMBNAILS = 12
"""Places of a sweep whose images are shown."""


@dataclass(frozen=True)
class Sweep:
    """What the database holds of a sweep."""

    name: str
    runs: list[RowDict]
    """The newest of every name, in the order in which they were begun, with `swept` and the seconds they took."""
    axes: tuple[Axis, ...]
    points: list[Point]
    seconds: float
    """What all stages took, each counted once."""

    def place(self, run: RowDict) -> str:
        """Return in words where a run lies on the axes."""
        return self.place_text(coordinates(self.axes, run["swept"]))

    def place_text(self, at: Sequence[str]) -> str:
        """Return in words the place with these texts of values."""
        return ", ".join(axis.labelled(text) for axis, text in zip(self.axes, at, strict=True)) or self.name

    @property
    def charts(self) -> list[Chart]:
        """All its curves."""
        return curves_of(self.axes, self.points)


TIMES = """SELECT run_id, sum(wall_s)::DOUBLE FROM run_stages JOIN stages USING (run, stage)
    WHERE list_contains(?, run_id) GROUP BY run_id"""

SECONDS = """SELECT coalesce(sum(wall_s), 0)::DOUBLE FROM (
    SELECT max(wall_s) AS wall_s FROM stages
    WHERE (run, stage) IN (SELECT (run, stage) FROM run_stages WHERE list_contains(?, run_id)) GROUP BY fingerprint
)"""
"""Of all stages of some runs; one that several of them share counts once."""

SHEETS = """SELECT rs.run_id, i.* FROM run_stages rs JOIN images i USING (run, stage)
    WHERE list_contains(?, rs.run_id) AND i.view = 'pixels'
    QUALIFY row_number() OVER (PARTITION BY rs.run_id ORDER BY rs.position, i.step DESC) = 1"""
"""Of each run the last images of the first stage that left any."""


def read_sweep(database: Path, name: str) -> Sweep:
    """Return a sweep from the database.

    Raises:
        FrepoError: the database is not there, or holds no run of such a sweep.
    """
    runs = [run for run in runs_of(database, name) if run["sweep"] == name]
    if not runs:
        raise _no_such_sweep(database, name)
    swept = {run["run_id"]: run["swept"] for run in runs}
    times = dict(query(database, TIMES, [list(swept)]).rows)
    runs = [{**run, "wall_s": times.get(run["run_id"])} for run in runs]
    axes = axes_of(list(swept.values()))
    ((seconds,),) = query(database, SECONDS, [list(swept)]).rows
    return Sweep(name, runs, axes, points_of(axes, swept, seed_rows(database, list(swept))), seconds)


def _no_such_sweep(database: Path, name: str) -> FrepoError:
    known = [sweep for (sweep,) in query(database, "SELECT DISTINCT sweep FROM runs WHERE sweep IS NOT NULL").rows]
    there = f"there are {', '.join(sorted(known))}" if known else "`frepo run SPEC` makes one of a spec with [sweep]"
    return FrepoError(f"there is no sweep `{name}` in {database}{near_text(name, known) or ';'} {there}")


def write_sweep(database: Path, runs_dir: Path, name: str, out: Path) -> Path:
    """Write the page of a sweep, `sweep-<name>.html`, and return its path; it needs no other file and no network.

    Raises:
        FrepoError: the database lacks the sweep, or the page cannot be written.
    """
    sweep = read_sweep(database, name)
    charts = sweep.charts
    places = dict.fromkeys(coordinates(sweep.axes, run["swept"]) for run in sweep.runs)
    html = (
        environment()
        .get_template("report/sweep.html.j2")
        .render(
            sweep=sweep,
            grid=grid_of(sweep.axes, sweep.points),
            num_places=len(places),
            seeds=sorted({run["seed"] for run in sweep.runs}),
            statuses=Counter(run["status"] for run in sweep.runs),
            numbers=[(sweep.place_text(point.at), point.trained_on, point.number) for point in sweep.points],
            charts=charts[:MOST_CHARTS],
            num_charts=len(charts),
            thumbnails=_thumbnails(database, runs_dir, sweep),
            published=published_in(point.number for point in sweep.points),
        )
    )
    return write_out(out / f"sweep-{name}.html", html.encode())


def _thumbnails(database: Path, runs_dir: Path, sweep: Sweep) -> list[Thumbnail]:
    """Return images of places evenly over the sweep, of the first seed that has any."""
    rows = {row["run_id"]: row for row in query(database, SHEETS, [[run["run_id"] for run in sweep.runs]]).dicts()}
    first: dict[str, RowDict] = {}
    for run in sorted(sweep.runs, key=lambda run: run["seed"]):
        if run["run_id"] in rows:
            first.setdefault(sweep.place(run), rows[run["run_id"]])
    places = [place for place in dict.fromkeys(map(sweep.place, sweep.runs)) if place in first]
    count = min(len(places), MOST_THUMBNAILS)
    chosen = [places[number * (len(places) - 1) // max(1, count - 1)] for number in range(count)]
    found = (load_thumbnail(stage_directory(runs_dir, first[place]), first[place], place) for place in chosen)
    return [thumbnail for thumbnail in found if thumbnail]

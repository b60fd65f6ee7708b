"""The numbers of a sweep: a table over its axes, and curves along the numeric ones."""

import re
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from frepo.report.charts import Chart, first_lines, lines
from frepo.report.sections import SETTINGS, told_apart
from frepo.store.fields import TASK, by_size, is_number, scalar, short_names, value_text
from frepo.store.seeds import counted, over
from frepo.store.tables import network_text, source_text

RowDict = dict[str, Any]

SEED = "seed"
"""The axis that is not shown but averaged over."""

MOST_CHARTS = 12
"""Charts of a page, which bound its size."""

EXPERIMENT = 8
"""Digits of an experiment in the name of a row that no setting tells apart."""

LOGARITHMIC = 20
"""Ratio of the largest to the smallest value of an axis from which its curve has a logarithmic scale."""

ANY = "any"
"""In place of the value of an axis that a baseline does not depend on."""


@dataclass(frozen=True)
class Axis:
    """An axis of a sweep."""

    field: str
    """Dotted field of the spec, or `case`."""
    name: str
    """The last part of the field, where no other axis has the same."""
    values: tuple[Any, ...]
    """`by_size`, else in the order of the runs; None where a run lacks the axis."""

    @property
    def numeric(self) -> bool:
        """Whether all values are numbers."""
        return all(map(is_number, self.values))

    def labelled(self, text: str) -> str:
        """Return the text of a value as part of a sentence: numbers need the name of the axis."""
        return f"{self.name} {text}" if any(map(is_number, self.values)) else text


@dataclass(frozen=True)
class Cell:
    """An accuracy at one place of the table."""

    number: RowDict
    """A row of `seed_table`."""
    best: bool = False
    """Whether no other row of the column is better on the same data set with as many images."""

    @property
    def std(self) -> float | None:
        """Over seeds, or over networks where there is a single seed."""
        return self.number[f"top1{over(self.number)}_std"]

    @property
    def samples(self) -> str:
        """Numbers of seeds and networks, and which of the two the std is over, in words."""
        seeds, few, most = (self.number[name] for name in ("num_seeds", "num_models", "most_models"))
        networks = counted(few, most, "network")
        if seeds > 1:
            return f"{seeds} seeds, {networks} each; std over seeds"
        return f"1 seed, {networks}" + ("; std over networks" if few > 1 else "")


@dataclass(frozen=True)
class Line:
    """A row of the table."""

    values: tuple[str, ...]
    """Of the axes that lead down."""
    trained_on: str
    cells: tuple[Cell | None, ...]


@dataclass(frozen=True)
class Grid:
    """The table of a sweep."""

    down: tuple[Axis, ...]
    across: Axis | None
    columns: tuple[str, ...]
    lines: tuple[Line, ...]

    @property
    def samples(self) -> str | None:
        """The words on samples that hold for all cells, or None where cells differ."""
        found = {cell.samples for line in self.lines for cell in line.cells if cell}
        return found.pop() if len(found) == 1 else None


@dataclass(frozen=True)
class Point:
    """An accuracy with its place: the text of a value for each axis, and which of the evaluations it is."""

    at: tuple[str, ...]
    trained_on: str
    number: RowDict


def axes_of(swept: Sequence[Mapping[str, Any]]) -> tuple[Axis, ...]:
    """Return the axes of runs with these swept fields, all but the seed."""
    fields = [field for field in dict.fromkeys(field for values in swept for field in values) if field != SEED]
    names = short_names(fields)
    axes: list[Axis] = []
    for field in fields:
        values = {value_text(values.get(field)): scalar(values.get(field)) for values in swept}
        axes.append(Axis(field, names[field], tuple(by_size(list(values.values())))))
    return tuple(axes)


def coordinates(axes: Sequence[Axis], swept: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the texts of a run's values along the axes."""
    return tuple(value_text(swept.get(axis.field)) for axis in axes)


def points_of(axes: Sequence[Axis], swept: Mapping[str, Mapping[str, Any]], numbers: Sequence[RowDict]) -> list[Point]:
    """Return the points of rows of `seed_table`; `swept` holds the swept fields of each run by its id.

    An experiment that lies at several places, because what was swept there leaves it unchanged, is at each of them.
    """
    placed = [
        (at, {**number, "network": network_text(number)})
        for number in numbers
        for at in dict.fromkeys(coordinates(axes, swept[run_id]) for run_id in number["run_ids"])
    ]
    rows = [{**row, "experiment": row["experiment"][:EXPERIMENT]} for _, row in placed]
    names = told_apart(
        rows, list(map(source_text, rows)), [at for at, _ in placed], ("network", *SETTINGS, "position", "experiment")
    )
    return [Point(at, name, row) for (at, row), name in zip(placed, names, strict=True)]


def baselines_once(points: Sequence[Point], axes: Sequence[Axis], along: Sequence[int]) -> list[Point]:
    """Return points with every baseline once along those of the axes `along` that it does not depend on, at ANY.

    It does not depend on an axis where each of its accuracies is the same for all values.
    """
    found = list(points)
    for index in along:
        baselines = dict.fromkeys(point.trained_on for point in found if point.number["source"] != "distilled")
        for name in baselines if len(axes[index].values) > 1 else ():
            groups: dict[tuple[str, ...], list[Point]] = {}
            for point in found:
                if point.trained_on == name:
                    groups.setdefault((*point.at[:index], ANY, *point.at[index + 1 :]), []).append(point)
            if all(len(group) > 1 and len(set(map(_scores, group))) == 1 for group in groups.values()):
                found = [point for point in found if point.trained_on != name]
                found += [replace(group[0], at=at) for at, group in groups.items()]
    return found


def _scores(point: Point) -> Hashable:
    """Return all that is equal for points of the same networks; sums in the database differ in the last bits."""
    number = point.number
    means = tuple(round(mean, 9) for mean in number["top1_each_seed"])
    return tuple(number["seeds"]), means, number["num_models"], round(number["top1_std"] or 0, 9)


def grid_of(axes: Sequence[Axis], points: Sequence[Point]) -> Grid:
    """Return the table: the last numeric axis leads across, all others down."""
    across = next((axis for axis in reversed(axes) if axis.numeric), None)
    down = [index for index, axis in enumerate(axes) if axis is not across]
    columns = tuple(map(value_text, across.values)) if across else ("",)
    rows: dict[tuple[tuple[str, ...], str], dict[str, Cell]] = {}
    points = _in_order(baselines_once(points, axes, down), axes, down)
    best = _best(points, axes, across)
    for point in points:
        cells = rows.setdefault((tuple(point.at[index] for index in down), point.trained_on), {})
        cells[_text_at(point, axes, across)] = Cell(point.number, id(point) in best)
    return Grid(
        tuple(axes[index] for index in down),
        across,
        columns,
        tuple(Line(at, name, tuple(map(cells.get, columns))) for (at, name), cells in rows.items()),
    )


def _text_at(point: Point, axes: Sequence[Axis], axis: Axis | None) -> str:
    return point.at[axes.index(axis)] if axis else ""


def _in_order(points: Sequence[Point], axes: Sequence[Axis], along: Sequence[int]) -> list[Point]:
    """Return points by their values along some axes, ANY last, and then by the evaluation."""
    texts = {index: [*map(value_text, axes[index].values), ANY] for index in along}
    names = list(dict.fromkeys(point.trained_on for point in points))
    return sorted(
        points,
        key=lambda p: (*(texts[index].index(p.at[index]) for index in along), names.index(p.trained_on)),
    )


def _best(points: Sequence[Point], axes: Sequence[Axis], across: Axis | None) -> set[int]:
    """Return the ids of the points that no other in their column beats at the same task, all real images left out."""
    rivals: dict[Hashable, list[Point]] = {}
    for point in points:
        if point.number["source"] != "full":
            task = tuple(point.number[name] for name in TASK)
            rivals.setdefault((task, _text_at(point, axes, across)), []).append(point)
    return {
        id(point)
        for group in rivals.values()
        for point in group
        if len(group) > 1 and point.number["top1_mean"] == max(p.number["top1_mean"] for p in group)
    }


def curves_of(axes: Sequence[Axis], points: Sequence[Point]) -> list[Chart]:
    """Return charts of the accuracy along each numeric axis of several values, a line for each place on the others.

    Where there are too many lines, each value of the first of the other axes has a chart of its own.
    """
    charts: list[Chart] = []
    for index, axis in enumerate(axes):
        if not axis.numeric or len(axis.values) == 1:
            continue
        others = [i for i, other in enumerate(axes) if i != index and len(other.values) > 1]
        along = _in_order(baselines_once(points, axes, others), axes, others)
        title = f"Top-1 against {axis.name}"
        _, cut = first_lines(_line_name(point, axes, others) for point in along)
        if others and cut:
            first, *others = others
            for text in dict.fromkeys(point.at[first] for point in along):
                part = [point for point in along if point.at[first] == text]
                charts.append(_curve(f"{title}: {axes[first].labelled(text)}", part, axes, index, others))
        else:
            charts.append(_curve(title, along, axes, index, others))
    return _with_distinct_keys(charts)


def _line_name(point: Point, axes: Sequence[Axis], others: Sequence[int]) -> str:
    values = (axes[index].labelled(point.at[index]) for index in others if point.at[index] != ANY)
    return ", ".join((*values, point.trained_on))


def _curve(title: str, points: Sequence[Point], axes: Sequence[Axis], index: int, others: Sequence[int]) -> Chart:
    values = {value_text(value): value for value in axes[index].values}
    shown, cut = first_lines(_line_name(point, axes, others) for point in points)
    rows = [
        {
            "x": values[point.at[index]],
            "y": 100 * point.number["top1_mean"],
            "std": 100 * (Cell(point.number).std or 0),
            "line": _line_name(point, axes, others),
        }
        for point in points
        if _line_name(point, axes, others) in shown
    ]
    rows.sort(key=lambda row: (shown.index(row["line"]), row["x"]))
    low, *_, high = axes[index].values
    chart = lines(
        re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-"),
        rows,
        title,
        axes[index].name,
        "top-1, percent",
        logarithmic=low > 0 and high >= LOGARITHMIC * low,
    )
    return replace(chart, subtitle=cut)


def _with_distinct_keys(charts: list[Chart]) -> list[Chart]:
    """Return charts with a number added to a key that an earlier one has already."""
    found: dict[str, Chart] = {}
    for chart in charts:
        keys = (chart.key, *(f"{chart.key}-{number}" for number in range(2, len(charts) + 1)))
        key = next(key for key in keys if key not in found)
        found[key] = replace(chart, key=key)
    return list(found.values())

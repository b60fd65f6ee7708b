"""The table of a sweep: rows and columns from its fields, a mean over seeds in each cell, published numbers in rows."""

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from frepo.errors import FrepoError, SpecError, near_text
from frepo.plan.identity import differences
from frepo.store.fields import TASK, Field, Value, all_fields, field_of, in_order, is_written, value_text
from frepo.store.find import runs_of
from frepo.store.query import query
from frepo.store.seeds import over, seed_rows, without_seeds

RowDict = dict[str, Any]
Key = tuple[Value, ...]
CellKey = tuple[Key, Key]
"""Of a cell: values of the fields of rows, and of columns."""

METHOD_FIELDS = frozenset({"method", "distill.method"})
TASK_FIELDS = frozenset({*TASK, *METHOD_FIELDS, "source", "dataset.name", "distill.ipc", "case"})
"""Fields that a published number depends on, that of a baseline not on the method beside it."""

OWN = "own"
"""The images that a run has made or chosen itself, not the baselines beside them."""


@dataclass(frozen=True)
class Entry:
    """An accuracy in a cell; means and stds are shares in 0..1."""

    mean: float
    std: float | None
    """Over seeds, or over networks where there is one seed; of published numbers as published."""
    task: tuple[Any, ...]
    """What accuracies share that can be compared."""
    num_seeds: int | None = None
    """None, like the rest, for published numbers."""
    num_models: int | None = None
    """Fewest networks of a seed."""
    most_models: int | None = None
    ci95: float | None = None
    """Half of the 95% interval, over what `std` is over."""
    found_in: str = ""
    """Run ids, or where the number was published."""


@dataclass(frozen=True)
class Line:
    """A row of the table."""

    key: Key
    """Values of the fields of rows."""
    published: str | None
    """The method, where the numbers are those of the literature."""
    entries: tuple[Entry | None, ...]
    """One for each column."""


@dataclass(frozen=True)
class Layout:
    """Which accuracy goes where."""

    down: tuple[Field, ...]
    across: tuple[Field, ...]

    def has(self, column: str) -> bool:
        """Return whether a column of `seed_table` is among the fields."""
        return any(field.name == column for field in (*self.down, *self.across))

    def cells(self, rows: Iterable[RowDict]) -> dict[CellKey, list[RowDict]]:
        """Return the rows of each cell."""
        found: dict[CellKey, list[RowDict]] = {}
        for row in rows:
            down, across = (tuple(f.value(row) for f in side) for side in (self.down, self.across))
            found.setdefault((down, across), []).append(row)
        return found

    def text(self, key: CellKey) -> str:
        """Return a cell in words."""
        pairs = zip((*self.down, *self.across), (*key[0], *key[1]), strict=True)
        return ", ".join(f"{field.title} = {value_text(value)}" for field, value in pairs)


@dataclass(frozen=True)
class Pivot:
    """The table; its cells are those of `lines`."""

    rows: tuple[Field, ...]
    columns: tuple[Field, ...]
    column_keys: tuple[Key, ...]
    lines: tuple[Line, ...]


def make_pivot(
    database: Path,
    name: str,
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    source: str = OWN,
    where: Mapping[str, str],
    runs: Sequence[str] | None = None,
) -> Pivot:
    """Return the table of a sweep, or of the run of a name, with the given fields as rows and columns.

    `source` is what networks were trained on, `own` for what each run made itself; it is not looked at where it is a
    field of rows or columns. `where` keeps rows in which a field `is_written` so. `runs` names the runs to take where
    not all of the sweep are wanted, as when its file has changed.

    Raises:
        SpecError: a field is not known, `where` has the source, nothing has the values asked for, or a cell would hold
            several accuracies.
        FrepoError: the database is not there, or has no such sweep or no accuracies of it.
    """
    if "source" in where:
        raise SpecError(f"frepo table: write --source {where['source']} instead of --where source={where['source']}")
    taken = _runs(database, name, runs)
    axes = list(dict.fromkeys(axis for run in taken for axis in run["swept"]))
    down, across = (tuple(field_of(each, axes) for each in names) for names in (rows, columns))
    layout = Layout(down, across)
    by_seed = layout.has("seed") or "seed" in where
    found = _at_each_place(_rows(database, taken, by_seed=by_seed), taken)
    if not found:
        raise FrepoError(f"the runs of `{name}` have no accuracies in {database} yet: `frepo runs` lists their states")
    if not layout.has("source"):
        found = _of_source(found, source)
    for each, text in where.items():
        found = _kept(found, field_of(each, axes), text)
    cells = _single(database, layout.cells(found), layout, all_fields(axes))
    row_keys, column_keys = (in_order(key[side] for key in cells) for side in (0, 1))
    own = [Line(key, None, tuple(_entry(cells.get((key, column))) for column in column_keys)) for key in row_keys]
    published = _published(cells, down, row_keys, column_keys)
    return Pivot(down, across, tuple(column_keys), tuple(_merged(own, published)))


def _runs(database: Path, name: str, names: Sequence[str] | None) -> list[RowDict]:
    """Return the rows of `runs_of`, or say why there are none."""
    found = runs_of(database, name, names)
    if not found:
        if names is not None and runs_of(database, name):
            raise FrepoError(
                f"no run of `{name}` as its file is now is in {database}: `frepo run` computes them, "
                f"`frepo table {name}` takes those that are there"
            )
        known = query(database, "SELECT sweep FROM runs WHERE sweep IS NOT NULL UNION SELECT name FROM runs").rows
        near = near_text(name, [each for (each,) in known]) or ";"
        raise FrepoError(f"there is no sweep and no run `{name}` in {database}{near} `frepo runs` lists them")
    return found


def _rows(database: Path, runs: Sequence[RowDict], *, by_seed: bool) -> list[RowDict]:
    """Return rows of `seed_rows`, over all seeds or of a single seed each."""
    if not by_seed:
        return seed_rows(database, [run["run_id"] for run in runs])
    seeds: dict[int, list[str]] = {}
    for run in sorted(runs, key=lambda run: run["seed"]):
        seeds.setdefault(run["seed"], []).append(run["run_id"])
    return [{**row, "seed": seed} for seed, ids in seeds.items() for row in seed_rows(database, ids)]


def _at_each_place(rows: Iterable[RowDict], runs: Iterable[RowDict]) -> list[RowDict]:
    """Return rows with the values of the axes, `swept`, an experiment that lies at several places at each of them."""
    swept = {run["run_id"]: run["swept"] for run in runs}
    return [
        {**row, "swept": place} for row in rows for place in without_seeds(swept[run_id] for run_id in row["run_ids"])
    ]


def _of_source(found: list[RowDict], source: str) -> list[RowDict]:
    kept = [row for row in found if (_is_own(row) if source == OWN else row["source"] == source)]
    if not kept:
        images = "images that a run has made or chosen itself" if source == OWN else f"`{source}`"
        there = list(dict.fromkeys(str(row["source"]) for row in found))
        raise SpecError(
            f"frepo table: no networks were trained on {images}; there are {', '.join(there)}: "
            f"choose with --source, for example --source {there[0]}"
        )
    return kept


def _is_own(row: RowDict) -> bool:
    return row["source"] in ("distilled", row["method"], f"{row['method']}_pixels")


def _kept(found: list[RowDict], field: Field, text: str) -> list[RowDict]:
    values = [field.value(row) for row in found]
    kept = [row for row, value in zip(found, values, strict=True) if is_written(value, text)]
    if not kept:
        there = ", ".join(value_text(value) for (value,) in in_order((value,) for value in values))
        raise SpecError(f"frepo table: {field.title} is nowhere `{text}`; there are {there}")
    return kept


def _single(
    database: Path, cells: dict[CellKey, list[RowDict]], layout: Layout, fields: Sequence[Field]
) -> dict[CellKey, RowDict]:
    """Return the accuracy of each cell, or refuse cells of several, naming the fields in which these differ."""
    distinct = {
        key: list({(row["setting"], row.get("seed")): row for row in rows}.values()) for key, rows in cells.items()
    }
    for key, rows in distinct.items():
        if len(rows) > 1:
            differing, advice = _differing(database, rows, fields)
            raise SpecError(
                f"frepo table: the cell {layout.text(key)} would hold {len(rows)} accuracies, which differ in "
                f"{'; '.join(differing)}: {advice}"
            )
    return {key: rows[0] for key, rows in distinct.items()}


def _differing(database: Path, rows: list[RowDict], fields: Sequence[Field]) -> tuple[list[str], str]:
    """Return the fields in which accuracies differ, with their values, and how to choose."""
    values = {
        field.title: in_order((field.value(row),) for row in rows)
        for field in fields
        if field.is_axis or field.name in rows[0]
    }
    differing = {title: found for title, found in values.items() if len(found) > 1}
    if not differing:
        settings = _spec_differences(database, rows) or ["settings of the evaluation"]
        return settings, "make these an axis of the sweep, or give the runs sweeps of their own"
    title, found = next(iter(differing.items()))
    first = value_text(found[0][0])
    option = f"--source {first}" if title == "source" else f"--where {title}={first}"
    shown = [f"{title} ({', '.join(value_text(value) for (value,) in found)})" for title, found in differing.items()]
    return shown, f"add one to --rows or --columns, or choose, for example {option}"


def _spec_differences(database: Path, rows: Sequence[RowDict]) -> list[str]:
    """Return in which fields the specs of the first two of `rows` differ."""
    old, new = (
        {**json.loads(spec), "name": None, "seed": None}
        for row in rows[:2]
        for (spec,) in query(database, "SELECT spec FROM runs WHERE run_id = ?", [row["run_ids"][0]]).rows
    )
    return [str(change) for change in differences(old, new)]


def _entry(row: RowDict | None) -> Entry | None:
    if row is None:
        return None
    return Entry(
        row["top1_mean"],
        row[f"top1{over(row)}_std"],
        _task(row),
        row["num_seeds"],
        row["num_models"],
        row["most_models"],
        row[f"top1{over(row)}_ci95"],
        ", ".join(row["run_ids"]),
    )


def _task(row: RowDict) -> tuple[Any, ...]:
    return tuple(row[name] for name in TASK)


def _published(
    cells: dict[CellKey, RowDict], down: Sequence[Field], row_keys: Sequence[Key], column_keys: Sequence[Key]
) -> dict[int, list[Line]]:
    """Return the rows of published numbers by the position of the row that they come after.

    Rows that differ in fields which a published number does not depend on share theirs.
    """
    found: dict[tuple[str, Key], dict[Key, Entry]] = {}
    after: dict[tuple[str, Key], int] = {}
    for (position, row_key), column_key in itertools.product(enumerate(row_keys), column_keys):
        row = cells.get((row_key, column_key))
        if row is None or row["published_top1"] is None:
            continue
        distilled = row["source"] == "distilled"
        kept = TASK_FIELDS if distilled else TASK_FIELDS - METHOD_FIELDS
        shared = tuple(value if field.name in kept else None for field, value in zip(down, row_key, strict=True))
        line = row["method"] if distilled else row["source"], shared
        entry = Entry(row["published_top1"], row["published_std"], _task(row), found_in=row["published_in"])
        found.setdefault(line, {})[column_key] = entry
        after[line] = position
    lines: dict[int, list[Line]] = {}
    for (method, shared), entries in found.items():
        line = Line(shared, method, tuple(entries.get(key) for key in column_keys))
        lines.setdefault(after[method, shared], []).append(line)
    return lines


def _merged(own: Iterable[Line], published: dict[int, list[Line]]) -> Iterator[Line]:
    for position, line in enumerate(own):
        yield line
        yield from published.get(position, ())

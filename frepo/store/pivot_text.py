"""The table of a sweep as text, LaTeX, Markdown, CSV or JSON."""

from collections.abc import Sequence

from frepo.store.fields import Field, Value, value_text
from frepo.store.markup import Align, Cell, latex, markdown
from frepo.store.pivot import METHOD_FIELDS, Entry, Line, Pivot
from frepo.store.seeds import counted
from frepo.store.text import Format, Rows, format_rows

ONE_SEED = "†"
"""Marks cells whose ± is over networks, where that of others is over seeds."""

NUMBERS = ("top1_mean", "top1_std", "top1_ci95", "over", "num_seeds", "num_models", "most_models", "found_in")
"""Columns of CSV and JSON after the fields and `published`; accuracies are shares in 0..1."""


def pivot_text(pivot: Pivot, style: Format) -> str:
    """Return a table of cells with a legend; as CSV and JSON one row for each cell, with all its numbers."""
    if style in ("csv", "json"):
        return format_rows(_long(pivot), style)
    best = _best(pivot)
    mark = len({entry.num_seeds == 1 for entry in _own(pivot)}) > 1
    header = [Cell(field.title) for field in pivot.rows] + [
        Cell(_column(pivot.columns, key)) for key in pivot.column_keys
    ]
    rows = [
        [
            *map(Cell, _titles(pivot.rows, line)),
            *(Cell(_cell(entry, mark), (i, j) in best) for j, entry in enumerate(line.entries)),
        ]
        for i, line in enumerate(pivot.lines)
    ]
    align: list[Align] = [*("l" for _ in pivot.rows), *("r" for _ in pivot.column_keys)]
    legend = _legend(pivot, marked=mark, bold=bool(best) and style != "table")
    match style:
        case "latex":
            return latex(header, rows, align, legend)
        case "markdown":
            return markdown(header, rows, align, legend)
        case _:
            table = Rows(tuple(cell.text for cell in header), tuple(tuple(cell.text for cell in row) for row in rows))
            return format_rows(table, "table") + f"\n{legend}\n"


def _own(pivot: Pivot) -> list[Entry]:
    return [entry for line in pivot.lines if line.published is None for entry in line.entries if entry]


def _column(fields: Sequence[Field], key: Sequence[Value]) -> str:
    """Return the title of a column; numbers and truth values say little without their field."""
    return ", ".join(
        value if isinstance(value, str) else f"{field.title} {value_text(value)}"
        for field, value in zip(fields, key, strict=True)
    )


def _titles(fields: Sequence[Field], line: Line) -> list[str]:
    """Return the cells that name a row; a published one is named in place of its method, or after the rest."""
    texts = [value_text(value) for value in line.key]
    if line.published is None:
        return texts
    texts = ["" if value is None else text for value, text in zip(line.key, texts, strict=True)]
    title = f"published: {line.published}"
    named = [i for i, field in enumerate(fields) if field.name in METHOD_FIELDS | {"source"}]
    place = named[-1] if named else len(texts) - 1
    texts[place] = title if named or not texts[place] else f"{texts[place]}, {title}"
    return texts


def _cell(entry: Entry | None, mark: bool) -> str:
    if entry is None:
        return ""
    spread = "" if entry.std is None else f" ± {100 * entry.std:.1f}"
    return f"{100 * entry.mean:.1f}{spread}{ONE_SEED if mark and entry.num_seeds == 1 else ''}"


def _best(pivot: Pivot) -> set[tuple[int, int]]:
    """Return which cells hold the best accuracy on one task in their column, published ones among them.

    Where no column has two runs on one task, as where each row is a data set, it is the best run of each row.
    """
    columns: dict[object, list[tuple[int, int]]] = {}
    rows: dict[object, list[tuple[int, int]]] = {}
    entries = {(i, j): e for i, line in enumerate(pivot.lines) for j, e in enumerate(line.entries) if e}
    for (i, j), entry in entries.items():
        columns.setdefault((j, entry.task), []).append((i, j))
        if pivot.lines[i].published is None:
            rows.setdefault((i, entry.task), []).append((i, j))
    own = [sum(pivot.lines[i].published is None for i, _ in places) for places in columns.values()]
    groups = columns if max(own, default=0) > 1 else rows
    best: set[tuple[int, int]] = set()
    for places in groups.values():
        if len(places) > 1:
            top = max(entries[place].mean for place in places)
            best |= {place for place in places if entries[place].mean == top}
    return best


def _legend(pivot: Pivot, *, marked: bool, bold: bool) -> str:
    entries = _own(pivot)
    several = [entry for entry in entries if entry.num_seeds and entry.num_seeds > 1]
    single = [entry for entry in entries if entry.num_seeds == 1]
    parts = ["Top-1 test accuracy in percent"]
    if several:
        numbers = [entry.num_seeds or 0 for entry in several]
        seeds = counted(min(numbers), max(numbers), "seed")
        parts[0] += f", mean ± std over {seeds}, each the mean of {_networks(several)}."
    if single:
        over = _networks(single)
        alone = f"one seed, ± is the std over its {over}" if over != "1 network" else "one seed and one network"
        parts += [f"{ONE_SEED} {alone}."] if marked else []
        parts[0] += "" if marked else f"; {alone}."
    published = sorted({entry.found_in for line in pivot.lines if line.published for entry in line.entries if entry})
    if published:
        parts.append(f"Published numbers are from {'; '.join(published)}.")
    if bold:
        parts.append("Bold: the best on the same data set and number of images.")
    return " ".join(parts)


def _networks(entries: Sequence[Entry]) -> str:
    numbers = [n for entry in entries for n in (entry.num_models or 0, entry.most_models or 0)]
    return counted(min(numbers), max(numbers), "network")


def _long(pivot: Pivot) -> Rows:
    fields = (*pivot.rows, *pivot.columns)
    rows = [
        (*line.key, *key, line.published, *_numbers(entry))
        for line in pivot.lines
        for key, entry in zip(pivot.column_keys, line.entries, strict=True)
        if entry
    ]
    return Rows((*(field.title for field in fields), "published", *NUMBERS), tuple(rows))


def _numbers(entry: Entry) -> tuple[object, ...]:
    over = None if entry.num_seeds is None else "networks" if entry.num_seeds == 1 else "seeds"
    return (
        *(entry.mean, entry.std, entry.ci95, over, entry.num_seeds, entry.num_models, entry.most_models),
        entry.found_in,
    )

"""The fields that a table of a sweep is made by: columns of `seed_table`, and axes of the sweep."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from frepo.errors import SpecError
from frepo.store.find import near_text
from frepo.store.seeds import Place, short_names

RowDict = dict[str, Any]
Value = str | int | float | bool | None

COLUMNS = (
    *("dataset", "part", "resolution", "method", "ipc", "seed", "source", "architecture", "normalization", "pooling"),
    *("width", "depth", "precision", "predictor", "labels", "loss", "optimizer", "learning_rate", "augmentation"),
    *("augmentation_mode", "steps"),
)
"""Of `seed_table`, and the seed."""

TASK = ("dataset", "part", "resolution", "ipc")
"""Columns that say what accuracies have to share to be compared."""


@dataclass(frozen=True)
class Field:
    """A column, or an axis of the sweep."""

    name: str
    is_axis: bool
    title: str
    """What tables call it: of an axis the last component where that is enough."""

    def value(self, row: RowDict, places: dict[str, Place]) -> Value:
        """Return its value for a row of `seed_rows`."""
        found = places[row["run_ids"][0]].swept.get(self.name) if self.is_axis else row[self.name]
        return found if isinstance(found, Value) else json.dumps(found)


def field_of(name: str, axes: Sequence[str]) -> Field:
    """Return the field that a user calls `name`: the axis, the axis that ends so, or the column.

    Raises:
        SpecError: there is none, or several axes end so.
    """
    titles = short_names(axes)
    if name in axes and name != "seed":
        return Field(name, is_axis=True, title=titles[name])
    ending = [axis for axis in titles if axis.rsplit(".", 1)[-1] == name and axis != "seed"]
    if len(ending) > 1:
        raise SpecError(f"frepo table: `{name}` is short for several axes of the sweep: write {' or '.join(ending)}")
    if ending:
        return Field(ending[0], is_axis=True, title=name)
    if name in COLUMNS:
        return Field(name, is_axis=False, title=name)
    known = list(dict.fromkeys([*axes, *COLUMNS]))
    raise SpecError(f"frepo table: there is no field `{name}`{near_text(name, known)}; known are {', '.join(known)}")


def all_fields(axes: Sequence[str]) -> list[Field]:
    """Return every field once, axes first."""
    named = [field_of(axis, axes) for axis in dict.fromkeys(axes)]
    taken = {field.name for field in named} | {field.title for field in named}
    return named + [Field(name, is_axis=False, title=name) for name in COLUMNS if name not in taken]


def in_order(values: Iterable[tuple[Value, ...]]) -> list[tuple[Value, ...]]:
    """Return distinct keys: by size where a component is a number throughout, else in the order they came in."""
    keys = list(dict.fromkeys(values))
    ranks: list[dict[Value, int]] = []
    for column in zip(*keys, strict=True):
        distinct = list(dict.fromkeys(column))
        numbers = [value for value in distinct if isinstance(value, int | float)]
        if len(numbers) == len([value for value in distinct if value is not None]):
            distinct = [*sorted(numbers), *([None] if None in distinct else [])]
        ranks.append({value: rank for rank, value in enumerate(distinct)})
    return sorted(keys, key=lambda key: [rank[value] for rank, value in zip(ranks, key, strict=True)])

"""The fields that a table of a sweep is made by: columns of `seed_table`, and axes of the sweep."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

from frepo.errors import SpecError, near_text

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

    def value(self, row: RowDict) -> Value:
        """Return its value for a row of `seed_rows` that has the values of the axes, `swept`."""
        return scalar(row["swept"].get(self.name) if self.is_axis else row[self.name])


def scalar(value: Any) -> Value:
    """Return a value of a field as it is, a table or list as its text."""
    return value if isinstance(value, Value) else json.dumps(value, ensure_ascii=False)


def value_text(value: Any) -> str:
    """Return a value of a field as tables show it."""
    if value is None:
        return "–"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def is_written(value: Value, text: str) -> bool:
    """Return whether a user who writes `text` means this value: as tables show it, or a number in another spelling."""
    try:
        return value_text(value) == text or (is_number(value) and float(text) == value)
    except ValueError:
        return False


def is_number(value: Any) -> TypeGuard[int | float]:
    """Return whether a value is a number; truth values are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def short_names(axes: Iterable[str]) -> dict[str, str]:
    """Return each axis with its last component, or as it is where another one ends the same."""
    axes = list(dict.fromkeys(axes))
    last = {axis: axis.rsplit(".", 1)[-1] for axis in axes}
    times = Counter(last.values())
    return {axis: short if times[short] == 1 else axis for axis, short in last.items()}


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


def by_size(values: Sequence[Value]) -> list[Value]:
    """Return values by size where all are numbers, or None, which comes last; else in the order they came in."""
    numbers = [value for value in values if is_number(value)]
    missing = [value for value in values if value is None]
    return [*sorted(numbers), *missing] if len(numbers) + len(missing) == len(values) else list(values)


def in_order(values: Iterable[tuple[Value, ...]]) -> list[tuple[Value, ...]]:
    """Return distinct keys, each component `by_size`."""
    keys = list(dict.fromkeys(values))
    columns = (by_size(list(dict.fromkeys(column))) for column in zip(*keys, strict=True))
    ranks = [{value: rank for rank, value in enumerate(column)} for column in columns]
    return sorted(keys, key=lambda key: [rank[value] for rank, value in zip(ranks, key, strict=True)])

"""`[sweep]`: the axes of a file of many experiments, and the points that they span."""

import itertools
import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, cast

from frepo.errors import SpecError
from frepo.spec.document import CASE, EXTENDS, SWEEP, merged
from frepo.spec.experiment import LONGEST_NAME, NAME, NAME_PART
from frepo.spec.fields import KeyPath, dotted, field_path, overwrites, toml_text

MOST_EXPERIMENTS = 10_000
MOST_FIELDS = 100
"""Axes of a sweep, and fields of a case."""
NAME_FIELD = "name"
LABEL = "label"

Where = Callable[[KeyPath], str]
"""Says in which file and line, or by which `--set`, a field is written."""


class Setting(NamedTuple):
    """A field and the value that it gets."""

    path: KeyPath
    value: Any


@dataclass(frozen=True, eq=False)
class Value:
    """One value of an axis."""

    part: str
    """Of the names of experiments."""
    shown: Any
    """The value of the field, or the label of a case."""
    settings: tuple[Setting, ...]
    place: Callable[[], str]

    @cached_property
    def where(self) -> str:
        """File, line, axis and value, for messages; lines are looked for where there is one only."""
        return self.place()


class Axis(NamedTuple):
    """A field, or `case` for those that change together, and the values that it takes in turn."""

    name: str
    values: tuple[Value, ...]


class Point(NamedTuple):
    """One experiment of a sweep: a value of each axis."""

    name: str | None
    """Of the experiment; None where the name of the file is none to begin with."""
    values: tuple[Value, ...]


def read_axes(sweep: Any, data: dict[str, Any], where: Where) -> list[Axis]:
    """Return the axes of the table `sweep` of a spec with the other fields `data`, in the order of the file.

    Raises:
        SpecError: an axis is none, or takes away what another one sets, or there are too many experiments.
    """
    if not isinstance(sweep, dict) or not sweep:
        raise SpecError(f"{where((SWEEP,))}: [sweep] needs an axis, a field with a list of values: seed = [0, 1, 2]")
    if len(cast("dict[str, Any]", sweep)) > MOST_FIELDS:
        raise SpecError(f"{where((SWEEP,))}: [sweep] has more than {MOST_FIELDS} axes")
    axes: list[Axis] = []
    faults: list[str] = []
    for name, values in cast("dict[str, Any]", sweep).items():
        try:
            axes.append(_case_axis(values, data, where) if name == CASE else _axis(name, values, where))
        except SpecError as error:
            faults.append(str(error))
    if not faults:
        _must_be_few(axes, where)
        faults = list(_conflicts(axes))
    if faults:
        raise SpecError("\n".join(faults))
    return axes


def _must_be_few(axes: Sequence[Axis], where: Where) -> None:
    count = math.prod(len(axis.values) for axis in axes)
    if count > MOST_EXPERIMENTS:
        raise SpecError(
            f"{where((SWEEP,))}: [sweep] makes {count:,} experiments, at most {MOST_EXPERIMENTS:,} are allowed"
        )


def points(axes: Sequence[Axis], name: Any, where: Where) -> list[Point]:
    """Return every combination of values, the first axis slowest, named `<name>-<part of each axis>`.

    Raises:
        SpecError: two would have one name, or a name is too long.
    """
    is_name = isinstance(name, str) and re.fullmatch(NAME, name) and len(name) <= LONGEST_NAME
    found: list[Point] = []
    by_name: dict[str, Point] = {}
    for values in itertools.product(*(axis.values for axis in axes)):
        point = Point("-".join([name, *(value.part for value in values)]) if is_name else None, values)
        found.append(point)
        if point.name is None:
            continue
        if len(point.name) > LONGEST_NAME:
            raise SpecError(
                f"{where((SWEEP,))}: [sweep]: the name {point.name!r} has {len(point.name)} characters, at most "
                f"{LONGEST_NAME} are allowed: a [[sweep.case]] has a short label of its own"
            )
        other = by_name.setdefault(point.name, point)
        if other is not point:
            raise SpecError(
                f"{where((SWEEP,))}: [sweep]: {_in_words(axes, other)} and {_in_words(axes, point)} would both be "
                f"named {point.name!r}: remove one of them, or make them a [[sweep.case]] each, with a label of its own"
            )
    return found


def _in_words(axes: Sequence[Axis], point: Point) -> str:
    shown = (f"{axis.name} = {_shown(value.shown)}" for axis, value in zip(axes, point.values, strict=True))
    return f"the experiment of {', '.join(shown)}"


def _axis(name: str, values: Any, where: Where) -> Axis:
    def here() -> str:
        return f"{where((SWEEP, name))}: [sweep]"

    path = _swept_field(name, here)
    if not isinstance(values, list) or not values:
        raise SpecError(f"{here()} {name}: must be a list of values, at least one: {name} = [1, 10]")
    entries = [
        Value(
            part=_part(str(path[-1]), value),
            shown=value,
            settings=(Setting(path, value),),
            place=lambda value=value: f"{here()} {name} = {_shown(value)}",
        )
        for value in cast("list[Any]", values)
    ]
    unnamed = [entry for entry in entries if not re.fullmatch(NAME_PART, entry.part)]
    if unnamed:
        raise SpecError(
            f"{unnamed[0].where}: makes no name of an experiment: make it a [[sweep.case]], which has a label"
        )
    return Axis(name, tuple(entries))


def _case_axis(cases: Any, data: dict[str, Any], where: Where) -> Axis:
    if not isinstance(cases, list) or not cases:
        raise SpecError(
            f"{where((SWEEP, CASE))}: [sweep] {CASE}: write [[sweep.case]] in double brackets, once for each case"
        )
    return Axis(CASE, tuple(_case(case, data, number, where) for number, case in enumerate(cast("list[Any]", cases))))


def _case(case: Any, data: dict[str, Any], number: int, where: Where) -> Value:
    label = cast("dict[str, Any]", case).get(LABEL) if isinstance(case, dict) else None
    if not isinstance(label, str) or not re.fullmatch(NAME_PART, label):
        raise SpecError(
            f'{where((SWEEP, CASE, number))}: [[sweep.case]]: needs a label = "NAME" of letters, digits, dots, hyphens '
            "and underscores, which goes into the names of experiments"
        )

    def place() -> str:
        return f'{where((SWEEP, CASE, number))}: [[sweep.case]] "{label}"'

    settings: list[Setting] = []
    if len(cast("dict[str, Any]", case)) > MOST_FIELDS:
        raise SpecError(f"{place()}: has more than {MOST_FIELDS} fields")
    for name, value in cast("dict[str, Any]", case).items():
        if name == LABEL:
            continue
        path = _swept_field(name, place)
        _must_be_clear(name, value, data, place)
        if twice := [setting for setting in settings if overwrites(path, setting.path)]:
            raise SpecError(
                f"{place()}: {name} takes away {dotted(twice[0].path)}, which the case sets too: remove one"
            )
        settings.append(Setting(path, value))
    return Value(label, label, tuple(settings), place)


def _must_be_clear(name: str, value: Any, data: dict[str, Any], place: Callable[[], str]) -> None:
    """Refuse a table that may be meant to replace the spec's or to change some of its fields: TOML tells no difference.

    Without quotes `dataset.name = "cifar10"` is such a table.
    """
    mine = data.get(name)
    if isinstance(value, dict) and isinstance(mine, dict) and merged(mine, value) != value:
        inner = next(iter(cast("dict[str, Any]", value)), "field")
        raise SpecError(
            f"{place()}: {name} is a table here and in the spec, whose other fields would be lost: write "
            f'"{name}.{inner}" in quotes to change one field; to replace the table, give it in each case and leave it '
            "out of the spec"
        )


def _swept_field(name: str, place: Callable[[], str]) -> KeyPath:
    try:
        path = field_path(name)
    except ValueError as error:
        raise SpecError(f"{place()}: {error}") from None
    if path[0] in (NAME_FIELD, EXTENDS, SWEEP):
        raise SpecError(
            f"{place()}: {name} cannot be swept: each experiment is named after its swept values and its case's label"
        )
    return path


def _conflicts(axes: Sequence[Axis]) -> Iterator[str]:
    """Yield what is wrong where an axis sets, or takes away, a field that one before it sets."""
    for earlier, later in itertools.combinations(axes, 2):
        for value, other in itertools.product(later.values, earlier.values):
            clash = [
                (mine.path, theirs.path)
                for mine in value.settings
                for theirs in other.settings
                if overwrites(mine.path, theirs.path)
            ]
            if clash:
                mine, theirs = map(dotted, clash[0])
                yield f"{value.where}: sets {mine}, and so takes away {theirs} of {other.where}: remove one of them"
                break


def _part(field: str, value: Any) -> str:
    """Return the part of a name for a value of a field; of a table or list, those for all that it holds."""
    match value:
        case bool():
            return f"{field}-{str(value).lower()}"
        case int() | float():
            return f"{field}{value}".replace("+", "")
        case str():
            return re.sub(r"[^A-Za-z0-9._]+", "-", value).strip("-")
        case dict():
            return "-".join(_part(key, below) for key, below in cast("dict[str, Any]", value).items())
        case list():
            return "-".join(_part(field, below) for below in cast("list[Any]", value)) or f"{field}-none"
        case _:
            return ""  # dates, which no field takes


def _shown(value: Any) -> str:
    text = toml_text(value)
    return text if len(text) <= 60 else f"{text[:57]}..."

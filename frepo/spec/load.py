"""From a TOML file and overrides to validated specs: one, or as many as the file's `[sweep]` makes."""

import itertools
import math
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import tomli
from pydantic import ValidationError

from frepo.errors import SpecError
from frepo.spec.document import CASE, SWEEP, Document, SpecText, read_alone, read_document
from frepo.spec.experiment import ExperimentSpec
from frepo.spec.explain import Fault, Given, Written, explain
from frepo.spec.fields import KeyPath, field_path, overwrites, placed
from frepo.spec.sweep import NAME_FIELD, Axis, Point, Where, points, read_axes
from frepo.spec.table import Table

Whole = TypeVar("Whole", bound=Table)
MOST_FAULTS = 50
"""Errors that are said of one file."""


@dataclass(frozen=True)
class LoadedSpec:
    """A valid spec together with the files that it came from."""

    document: Document
    overrides: tuple[str, ...]
    spec: ExperimentSpec
    sweep: str | None = None
    """The name that the file gives, where its `[sweep]` makes many experiments."""
    swept: dict[str, Any] = field(default_factory=dict[str, Any])
    """Axis -> value of this experiment, in the order of the axes; `case` -> label."""

    @property
    def path(self) -> Path:
        """The file."""
        return self.document.files[0].path

    @property
    def text(self) -> str:
        """The text of the file."""
        return self.document.files[0].text

    @property
    def bases(self) -> tuple[SpecText, ...]:
        """The files that it extends, nearest first, as they were read."""
        return self.document.files[1:]

    def overridden(self, *more: str) -> "LoadedSpec":
        """Return the spec with further overrides; the file, which may be a pipe, is not read again.

        Raises:
            SpecError: it is not valid then.
        """
        found = _validated(self.document, (*self.overrides, *more))
        same = [loaded for loaded in found if loaded.swept == self.swept]
        if not same:
            raise SpecError(f"{self.path}: {' '.join(more)} leaves no experiment like {self.spec.name}")
        return same[0]


def load_spec(path: Path | str, overrides: Sequence[str] = ()) -> LoadedSpec:
    """Read, override and validate the one spec at `path`; its fields are those of `.spec`.

    Each override reads `table.field=value`, its value in TOML (a bare word is taken as a string).

    Raises:
        SpecError: the file cannot be read, is not TOML or is not a valid spec; the message names file, line, field,
            what is allowed and the nearest name. Or its `[sweep]` makes many.
    """
    loaded = load_specs(path, overrides)
    if loaded[0].sweep is not None:
        raise SpecError(
            f"{loaded[0].document.where((SWEEP,))}: [sweep] makes {len(loaded):,} experiments of this file, and this "
            "takes one; frepo run, check and plan take them all, like load_specs in Python"
        )
    return loaded[0]


def load_specs(path: Path | str, overrides: Sequence[str] = ()) -> list[LoadedSpec]:
    """Read, override and validate all experiments of the file at `path`, the first axis of its `[sweep]` slowest.

    A file without `[sweep]` is one experiment. Overrides are those of all experiments; `sweep.seed=[0]` replaces an
    axis.

    Raises:
        SpecError: as `load_spec`; the message names the axis and the value too.
    """
    try:
        return _validated(read_document(Path(path)), tuple(overrides))
    except RecursionError:
        raise SpecError(f"{path}: nested too deeply") from None


def load_table(path: Path, table: type[Whole]) -> Whole:
    """Read and validate a file that is no spec but one `table`, with errors like those of a spec.

    Raises:
        SpecError: the file cannot be read, is not TOML or not such a table.
    """
    file = read_alone(path)
    try:
        return table.model_validate(file.data)
    except ValidationError:
        faults = explain([Given(file.data)], Document((file,)), table)
        raise SpecError("\n".join(_first_lines(fault.line for fault in faults))) from None
    except RecursionError:
        raise SpecError(f"{path}: nested too deeply") from None


def made_specs(path: Path, text: str) -> list[LoadedSpec]:
    """Return the experiments of a text that was made here, as if it were the content of the file `path`.

    Raises:
        SpecError: as `load_specs`.
    """
    return _validated(Document((SpecText(path, text),)), ())


class _Failure(NamedTuple):
    """An experiment that is not valid."""

    point: Point
    faults: list[Fault]


def _validated(document: Document, overrides: tuple[str, ...]) -> list[LoadedSpec]:
    states, sweep = _given(document, overrides)
    if sweep is None:
        spec = _valid(states[-1].data)
        if spec is None:
            raise SpecError("\n".join(_first_lines(fault.line for fault in explain(states, document))))
        return [LoadedSpec(document, overrides, spec)]
    name = states[-1].data.get(NAME_FIELD)
    found: list[LoadedSpec] = []
    failures: list[_Failure] = []
    for point in points(sweep.axes, name, sweep.where):
        spec = _valid_point(point, states[-1].data)
        if spec is not None:
            swept = {axis.name: value.shown for axis, value in zip(sweep.axes, point.values, strict=True)}
            found.append(LoadedSpec(document, overrides, spec, name, swept))
        else:
            steps = _swept(point, states[-1].data)
            found_faults = [steps] if isinstance(steps, Fault) else explain([*states, *steps], document)
            faults = list(itertools.islice(found_faults, MOST_FAULTS))
            failures.append(_Failure(point, faults))
    if failures:
        raise SpecError("\n".join(_first_lines(_summed_up(failures, sweep.axes))))
    return found


def _first_lines(lines: Iterable[str]) -> list[str]:
    """Return the first errors: to find the line of each takes time, and nobody reads thousands."""
    lines = iter(lines)
    shown = list(itertools.islice(lines, MOST_FAULTS))
    return [*shown, "and more"] if next(lines, None) is not None else shown


def _valid(data: dict[str, Any]) -> ExperimentSpec | None:
    try:
        return ExperimentSpec.model_validate(data)
    except ValidationError:
        return None


def _valid_point(point: Point, data: dict[str, Any]) -> ExperimentSpec | None:
    """Return the spec of an experiment of a sweep, or None where `_swept` and `explain` find what is wrong."""
    try:
        for value in point.values:
            for setting in value.settings:
                data = placed(data, setting.path, setting.value)
    except ValueError:
        return None
    return _valid(data if point.name is None else {**data, NAME_FIELD: point.name})


class _Sweep(NamedTuple):
    axes: list[Axis]
    where: Where


def _given(document: Document, overrides: Sequence[str]) -> tuple[list[Given], _Sweep | None]:
    """Return the data of a file before and after each override, and its axes; none where it has no `[sweep]`.

    Raises:
        SpecError: an override or an axis is none, or an override sets what is swept.
    """
    data = dict(document.data)
    sweep = {SWEEP: data.pop(SWEEP)} if SWEEP in data else None
    states = [Given(data)]
    written: list[Written] = []
    for override in overrides:
        path, value = read_override(override)
        written.append(Written(f"--set {override}", (path,), override))
        if path[0] == SWEEP and sweep is not None:
            sweep = _set(sweep, path, value, override)
        else:
            states.append(Given(_set(states[-1].data, path, value, override), written[-1]))
    if sweep is None:
        return states, None

    def where(path: KeyPath) -> str:
        writers = [by.where for by in written if overwrites(by.paths[0], path)]
        return writers[-1] if writers else document.where(path)

    axes = read_axes(sweep[SWEEP], states[-1].data, where)
    _refuse_overrides_of_swept_fields(axes, written)
    return states, _Sweep(axes, where)


def _refuse_overrides_of_swept_fields(axes: Sequence[Axis], written: Sequence[Written]) -> None:
    for by in written:
        for axis in axes:
            for value in axis.values:
                for setting in value.settings:
                    if overwrites(setting.path, by.paths[0]):
                        raise SpecError(
                            f"{by.where}: is set by {value.where} too: leave it out, or replace the axis: "
                            f"--set 'sweep.{axis.name}=[...]'"
                        )


def _swept(point: Point, data: dict[str, Any]) -> list[Given] | Fault:
    """Return the data after each value of a point, its name set with the last; or what is wrong with a value."""
    states: list[Given] = []
    for value in point.values:
        by = Written(value.where, tuple(setting.path for setting in value.settings))
        try:
            for setting in value.settings:
                data = placed(data, setting.path, setting.value)
        except ValueError as error:
            return Fault(f"{value.where}: {error}", by)
        states.append(Given(data, by))
    if point.name is not None:
        states[-1] = states[-1]._replace(data={**data, NAME_FIELD: point.name})
    return states


def _summed_up(failures: Sequence[_Failure], axes: Sequence[Axis]) -> list[str]:
    """Return each fault once, and of one that not all experiments with its value have, an experiment that has it."""
    points_of: dict[Fault, list[Point]] = {}
    for point, faults in failures:
        for fault in faults:
            points_of.setdefault(fault, []).append(point)
    lines: dict[str, None] = {}
    for fault, having in points_of.items():
        sharing = math.prod(
            len(axis.values)
            for axis in axes
            if not (fault.by and any(value.where == fault.by.where for value in axis.values))
        )
        first, more = having[0].name, len(having) - 1
        others = f" and {more:,} more" if more else ""
        lines[fault.line + (f" (in {first}{others})" if len(having) < sharing and first else "")] = None
    return list(lines)


def read_override(override: str) -> tuple[KeyPath, Any]:
    """Return the field and the value of `table.field=value`; a bare word is text.

    Raises:
        SpecError: it is no such setting.
    """
    key, equals, text = override.partition("=")
    path: KeyPath = ()
    if equals:
        with suppress(ValueError):
            path = field_path(key)
    if not path:
        raise SpecError(f"--set {override}: write table.field=value, for example distill.steps=1000")
    try:
        value = _value(text.strip())
    except RecursionError:
        raise SpecError(f"--set {override}: nested too deeply") from None
    if path[0] == SWEEP and len(path) > 1 and path[1] != CASE:
        path = (SWEEP, ".".join(map(str, path[1:])))
    return path, value


def _set(data: dict[str, Any], path: KeyPath, value: Any, override: str) -> dict[str, Any]:
    try:
        return placed(data, path, value)
    except ValueError as error:
        raise SpecError(f"--set {override}: {error}") from None
    except RecursionError:
        raise SpecError(f"--set {override}: nested too deeply") from None


def _value(text: str) -> Any:
    try:
        parsed = tomli.loads(f"value = {text}")
    except ValueError:  # no TOML, or a number of thousands of digits
        return text
    return parsed["value"] if len(parsed) == 1 else text  # several lines

"""From a TOML file and overrides to a validated spec."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import tomli
from pydantic import ValidationError

from frepo.errors import SpecError
from frepo.spec.experiment import ExperimentSpec
from frepo.spec.explain import Given, explain
from frepo.spec.table import Table

Whole = TypeVar("Whole", bound=Table)


@dataclass(frozen=True)
class LoadedSpec:
    """A valid spec together with the file it came from."""

    path: Path
    text: str
    overrides: tuple[str, ...]
    spec: ExperimentSpec

    def overridden(self, *more: str) -> "LoadedSpec":
        """Return the spec with further overrides; the file, which may be a pipe, is not read again.

        Raises:
            SpecError: it is not valid then.
        """
        return _validated(self.path, self.text, (*self.overrides, *more))


def load_spec(path: Path | str, overrides: Sequence[str] = ()) -> LoadedSpec:
    """Read, override and validate the spec at `path`; its fields are those of `.spec`.

    Each override reads `table.field=value`, its value in TOML (a bare word is taken as a string).

    Raises:
        SpecError: the file cannot be read, is not TOML or is not a valid spec; the message names file, line, field,
            what is allowed and the nearest name.
    """
    path = Path(path)
    return _validated(path, _read(path), tuple(overrides))


def load_table(path: Path, table: type[Whole]) -> Whole:
    """Read and validate a file that is no spec but one `table`, with errors like those of a spec.

    Raises:
        SpecError: the file cannot be read, is not TOML or not such a table.
    """
    text = _read(path)
    given = _given(path, text, ())
    try:
        return table.model_validate(given.data)
    except ValidationError:
        raise SpecError("\n".join(explain([given], path, text, (), table))) from None


def _validated(path: Path, text: str, overrides: tuple[str, ...]) -> LoadedSpec:
    given = _given(path, text, overrides)
    try:
        spec = ExperimentSpec.model_validate(given.data)
    except ValidationError:
        before = [_given(path, text, overrides[:count]) for count in range(len(overrides))]
        raise SpecError("\n".join(explain([*before, given], path, text, overrides))) from None
    return LoadedSpec(path, text, overrides, spec)


def _given(path: Path, text: str, overrides: tuple[str, ...]) -> Given:
    data = _parse(path, text)
    return Given(data, tuple(_apply(data, override) for override in overrides))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")  # Windows' editors begin a file with a mark
    except FileNotFoundError:
        raise SpecError(f"{path}: no such file") from None
    except UnicodeDecodeError:
        raise SpecError(f"{path}: not a text file (TOML is UTF-8 text)") from None
    except OSError as error:
        raise SpecError(f"{path}: cannot be read: {error.strerror}") from None


def _parse(path: Path, text: str) -> dict[str, Any]:
    try:
        return tomli.loads(text)
    except tomli.TOMLDecodeError as error:
        raise SpecError(f"{path}:{error.lineno}: not valid TOML: {error.msg} (column {error.colno})") from None
    except RecursionError:
        raise SpecError(f"{path}: nested too deeply") from None
    except ValueError:  # Python reads no number of thousands of digits
        line = text.count("\n", 0, max(re.finditer("[0-9_]+", text), key=lambda run: len(run[0])).start()) + 1
        raise SpecError(f"{path}:{line}: not valid TOML: a number of thousands of digits") from None


def _apply(data: dict[str, Any], override: str) -> tuple[str | int, ...]:
    """Set one `a.b=value` in `data` and return its path."""
    key, equals, text = override.partition("=")
    path = tuple(int(part) if part.isdecimal() and len(part) < 10 else part for part in key.strip().split("."))
    if not equals or "" in path:
        raise SpecError(f"--set {override}: write table.field=value, for example distill.steps=1000")
    node: Any = data
    for position, part in enumerate(path[:-1]):
        if isinstance(node, dict) and part not in node:
            node[part] = {}
        node = _child(node, part, override, path[: position + 1])
    last: Any = path[-1]
    if isinstance(node, list):
        _child(cast("list[Any]", node), last, override, path)
    elif not isinstance(node, dict):
        raise SpecError(f"--set {override}: {'.'.join(map(str, path[:-1]))} is not a table")
    try:
        node[last] = _value(text.strip())
    except RecursionError:
        raise SpecError(f"--set {override}: nested too deeply") from None
    return path


def _child(node: Any, part: str | int, override: str, path: tuple[str | int, ...]) -> Any:
    try:
        return node[part]
    except (KeyError, IndexError, TypeError):
        raise SpecError(f"--set {override}: the spec has no {'.'.join(map(str, path))}") from None


def _value(text: str) -> Any:
    try:
        parsed = tomli.loads(f"value = {text}")
    except ValueError:  # no TOML, or a number of thousands of digits
        return text
    return parsed["value"] if len(parsed) == 1 else text  # several lines

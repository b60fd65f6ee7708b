"""From a TOML file and overrides to a validated spec."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import tomli
from pydantic import ValidationError

from frepo.errors import SpecError
from frepo.spec.experiment import ExperimentSpec
from frepo.spec.explain import explain


@dataclass(frozen=True)
class LoadedSpec:
    """A valid spec together with the file it came from."""

    path: Path
    text: str
    overrides: tuple[str, ...]
    spec: ExperimentSpec


def load_spec(path: Path | str, overrides: Sequence[str] = ()) -> LoadedSpec:
    """Read, override and validate the spec at `path`; its fields are those of `.spec`.

    Each override reads `table.field=value`, its value in TOML (a bare word is taken as a string).

    Raises:
        SpecError: the file cannot be read, is not TOML or is not a valid spec; the message names file, line, field,
            what is allowed and the nearest name.
    """
    path, overrides = Path(path), tuple(overrides)
    text = _read(path)
    try:
        data = tomli.loads(text)
    except tomli.TOMLDecodeError as error:
        raise SpecError(f"{path}:{error.lineno}: not valid TOML: {error.msg} (column {error.colno})") from None
    except RecursionError:
        raise SpecError(f"{path}: nested too deeply") from None
    origins = {_apply(data, override): override for override in overrides}
    try:
        spec = ExperimentSpec.model_validate(data)
    except ValidationError as error:
        raise SpecError("\n".join(explain(error, data, path, text, origins))) from None
    return LoadedSpec(path, text, overrides, spec)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise SpecError(f"{path}: no such file") from None
    except UnicodeDecodeError:
        raise SpecError(f"{path}: not a text file (TOML is UTF-8 text)") from None
    except OSError as error:
        raise SpecError(f"{path}: cannot be read: {error.strerror}") from None


def _apply(data: dict[str, Any], override: str) -> tuple[str | int, ...]:
    """Set one `a.b=value` in `data` and return its path."""
    key, equals, text = override.partition("=")
    path = tuple(int(part) if part.isdecimal() else part for part in key.strip().split("."))
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
    node[last] = _value(text.strip())
    return path


def _child(node: Any, part: str | int, override: str, path: tuple[str | int, ...]) -> Any:
    try:
        return node[part]
    except (KeyError, IndexError, TypeError):
        raise SpecError(f"--set {override}: the spec has no {'.'.join(map(str, path))}") from None


def _value(text: str) -> Any:
    try:
        return tomli.loads(f"value = {text}")["value"]
    except tomli.TOMLDecodeError:
        return text

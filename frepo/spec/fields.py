"""Fields of a spec by their dotted names, as `--set` and `[sweep]` write them, and setting one in a spec's data."""

import json
from collections.abc import Mapping
from typing import Any, cast

KeyPath = tuple[str | int, ...]


def field_path(name: str) -> KeyPath:
    """Return the keys that a dotted name leads through; digits are places in a list.

    Raises:
        ValueError: a part of it is empty.
    """
    path = tuple(int(part) if part.isdecimal() and len(part) < 10 else part for part in name.strip().split("."))
    if "" in path:
        raise ValueError(f"{name!r} is no field: write table.field, for example distill.steps")
    return path


def dotted(path: KeyPath) -> str:
    """Return the name of the field at `path`."""
    return ".".join(map(str, path))


def overwrites(later: KeyPath, earlier: KeyPath) -> bool:
    """Return whether setting the field `later` takes away what was set at `earlier`."""
    return earlier[: len(later)] == later


def placed(data: Any, path: KeyPath, value: Any, above: KeyPath = ()) -> Any:
    """Return `data`, found at the path `above`, with `value` at `path`; it shares with `data` all that is unchanged.

    Raises:
        ValueError: there is no such place: a list is too short, or what should hold a field is no table.
    """
    if not path:
        return value
    first, *rest = path
    below = (*above, first)
    if isinstance(data, dict):
        table = cast("dict[Any, Any]", data)
        if first not in table and rest and isinstance(rest[0], int):  # a place in a list that is not there
            raise ValueError(f"the spec has no {dotted((*below, rest[0]))}")
        return {**table, first: placed(table.get(first, {}), tuple(rest), value, below)}
    if isinstance(data, list):
        entries = cast("list[Any]", data)
        if not isinstance(first, int) or first >= len(entries):
            raise ValueError(f"the spec has no {dotted(below)}")
        return [*entries[:first], placed(entries[first], tuple(rest), value, below), *entries[first + 1 :]]
    raise ValueError(f"{dotted(above)} is not a table" if not rest else f"the spec has no {dotted(below)}")


def contains(node: Any, path: KeyPath) -> bool:
    """Return whether there is something at `path`."""
    return depth_of(node, path) == len(path)


def depth_of(node: Any, path: KeyPath) -> int:
    """Return how many keys of `path` lead somewhere, one after the other."""
    for depth, part in enumerate(path):
        try:
            node = node[part]
        except (KeyError, IndexError, TypeError):
            return depth
    return len(path)


def toml_text(value: Any) -> str:
    """Return a value of a spec in TOML, which writes these as JSON does, but for tables."""
    match value:
        case Mapping():
            fields = cast("Mapping[str, Any]", value).items()
            return "{ " + ", ".join(f"{name} = {toml_text(inner)}" for name, inner in fields) + " }" if fields else "{}"
        case list() | tuple():
            return f"[{', '.join(map(toml_text, cast('list[Any]', value)))}]"
        case _:
            return json.dumps(value, ensure_ascii=False, default=str)

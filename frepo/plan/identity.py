"""Identity of computations: canonical JSON and its fingerprint."""

import hashlib
import json
import math
from collections.abc import Mapping
from itertools import zip_longest
from typing import Any, NamedTuple, cast

ABSENT = "(absent)"


def canonical_json(value: Any) -> str:
    """Return the unique JSON text of `value`: sorted keys, no spaces, ASCII, shortest floats.

    Raises:
        TypeError: `value` holds something without one stable text (a set, a path, a NaN, a key that is not a string).
    """
    _refuse_unstable(value, "value")
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def fingerprint(value: Any) -> str:
    """Return the SHA-256 of the canonical JSON of `value` as 64 hexadecimal digits."""
    return hashlib.sha256(canonical_json(value).encode("ascii")).hexdigest()


class Change(NamedTuple):
    """A leaf in which two JSON values differ."""

    path: str
    """Dotted, with positions in lists: `application.0.steps`."""
    old: str
    """Canonical JSON, or `(absent)`."""
    new: str

    def __str__(self) -> str:
        return f"{self.path}: {self.old} -> {self.new}"


def differences(old: Any, new: Any, path: str = "") -> list[Change]:
    """Return the leaves in which two JSON values differ; a list without objects is a leaf."""
    below = _children(old, new)
    if below is not None:
        return [
            change
            for key, before, after in below
            for change in differences(before, after, f"{path}.{key}" if path else key)
        ]
    was, now = _shown(old), _shown(new)
    return [] if was == now else [Change(path, was, now)]


def _children(old: Any, new: Any) -> list[tuple[str, Any, Any]] | None:
    """Return the children of two objects, or of two lists of objects, under each key, or None for leaves."""
    if isinstance(old, dict) and isinstance(new, dict):
        before, after = cast("dict[str, Any]", old), cast("dict[str, Any]", new)
        keys = [*before, *(key for key in after if key not in before)]
        return [(key, before.get(key, ABSENT), after.get(key, ABSENT)) for key in keys]
    if _holds_objects(old) and _holds_objects(new):
        pairs = zip_longest(cast("list[Any]", old), cast("list[Any]", new), fillvalue=ABSENT)
        return [(str(index), was, now) for index, (was, now) in enumerate(pairs)]
    return None


def _holds_objects(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(entry, dict) for entry in cast("list[Any]", value))


def _shown(value: Any) -> str:
    return ABSENT if value is ABSENT else canonical_json(value)


def _refuse_unstable(value: Any, path: str) -> None:
    if value is None or isinstance(value, bool | int | str):
        return
    if isinstance(value, float) and math.isfinite(value):
        return
    if isinstance(value, Mapping):
        for key, child in cast("Mapping[Any, Any]", value).items():
            if not isinstance(key, str):
                raise TypeError(f"{path} has the key {key!r}, which is not a string")
            _refuse_unstable(child, f"{path}.{key}")
        return
    if isinstance(value, list):
        for index, child in enumerate(cast("list[Any]", value)):
            _refuse_unstable(child, f"{path}[{index}]")
        return
    raise TypeError(f"{path} is {value!r} ({type(value).__name__}), which has no stable JSON")

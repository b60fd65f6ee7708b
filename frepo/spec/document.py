"""The files that a spec is read from: its own, and the chain of those that it extends."""

import itertools
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, cast

import tomli

from frepo.errors import SpecError, near_text
from frepo.spec.fields import KeyPath, contains, depth_of

DEEPEST = 10
"""Files in a chain of `extends`: more are a mistake."""
LARGEST = 2**20
"""Bytes of a file."""
MOST_TRIED = 2**24
"""Characters of all beginnings of a file among which that with a key is looked for: more would take minutes."""
EXTENDS = "extends"
SWEEP = "sweep"
CASE = "case"


@dataclass(frozen=True)
class SpecText:
    """A TOML file as it was read."""

    path: Path
    text: str

    @cached_property
    def data(self) -> dict[str, Any]:
        """Its content, the axes of `[sweep]` by their dotted names.

        Raises:
            SpecError: it is not TOML.
        """
        return _parse(self.path, self.text)

    def line_of(self, path: KeyPath) -> int:
        """Return the line (from 1) on which `path`, or the nearest table above it, starts.

        The key starts behind the longest prefix of lines that parses without it: tomli itself says so, whatever the
        quoting, so there is no second parser that could differ from it. In a file of thousands of lines it is line 1.
        """
        if self.text.count("\n") * len(self.text) > MOST_TRIED:
            return 1
        for depth in range(len(path), 0, -1):
            for (before, _), (_, parsed) in itertools.pairwise(_prefixes(self.text)):
                if contains(parsed, path[:depth]):
                    return before + 1
        return 1


@dataclass(frozen=True)
class Document:
    """A spec file and those that it extends, nearest first."""

    files: tuple[SpecText, ...]

    @cached_property
    def data(self) -> dict[str, Any]:
        """The content of all files, the nearer one's before the farther one's; without `extends`."""
        data: dict[str, Any] = {}
        for file in reversed(self.files):
            data = merged(data, file.data)
        return {key: value for key, value in data.items() if key != EXTENDS}

    def where(self, path: KeyPath) -> str:
        """Return `file:line` of `path`, or of the nearest table above it."""
        found, deepest = self.files[0], 0
        for file in self.files:
            depth = depth_of(file.data, path)
            if depth > deepest:
                found, deepest = file, depth
            if any(not isinstance(_at(file.data, path[:keys]), dict) for keys in range(1, depth + 1)):
                break  # a list or a value takes the place of whatever the files that this one extends have there
        return f"{found.path}:{found.line_of(path)}"


def read_document(path: Path) -> Document:
    """Read the spec file at `path` and all that it extends.

    Raises:
        SpecError: one of them cannot be read or is not TOML, or they extend each other in a circle or too deeply.
    """
    files = [read_alone(path)]
    while EXTENDS in files[-1].data:
        files.append(_base_of(files))
    return Document(tuple(files))


def read_alone(path: Path) -> SpecText:
    """Read the TOML file at `path`, which extends no other.

    Raises:
        SpecError: it cannot be read.
    """
    return SpecText(path, _read(path))


def _base_of(files: Sequence[SpecText]) -> SpecText:
    """Read the file that the last of `files` extends."""
    last = files[-1]
    name, where = last.data[EXTENDS], f"{last.path}:{last.line_of((EXTENDS,))}: {EXTENDS}"
    if not isinstance(name, str) or not name or "\0" in name:
        raise SpecError(f'{where}: must be the path of a spec, relative to this file, in quotes: "base.toml"')
    path = last.path.parent / name
    chain = [file.path.resolve() for file in files]
    if path.resolve() in chain:
        circle = [file.path.name for file in files[chain.index(path.resolve()) :]]
        raise SpecError(f"{where}: goes in a circle: {' -> '.join([*circle, path.name])}; remove one of them")
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise SpecError(f"{where}: {name[:100]!r} is not a file")  # but a device, which may have no end
    if len(files) == DEEPEST:
        raise SpecError(f"{where}: is the {DEEPEST}th file after another; at most {DEEPEST} files may form a chain")
    try:
        return read_alone(path)
    except SpecError as error:
        beside = [other.name for other in path.parent.glob("*.toml")]
        meant = "" if path.exists() else near_text(path.name, beside, 0.6)
        raise SpecError(f"{where}: {error}{meant}") from None


def merged(base: Any, nearer: Any) -> Any:
    """Return `base` with what `nearer` says instead: tables merge, anything else, lists too, is replaced."""
    if not (isinstance(base, dict) and isinstance(nearer, dict)):
        return nearer
    below, above = cast("dict[str, Any]", base), cast("dict[str, Any]", nearer)
    return {**below, **{key: merged(below[key], value) if key in below else value for key, value in above.items()}}


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:  # which may be a pipe
            content = file.read(LARGEST + 1)
        if len(content) > LARGEST:
            raise SpecError(f"{path}: larger than {LARGEST:,} bytes, which no spec is")
        text = content.decode("utf-8-sig")  # Windows' editors begin a file with a mark
        return text.replace("\r\n", "\n").replace("\r", "\n")
    except FileNotFoundError:
        raise SpecError(f"{path}: no such file") from None
    except UnicodeDecodeError:
        raise SpecError(f"{path}: not a text file (TOML is UTF-8 text)") from None
    except OSError as error:
        raise SpecError(f"{path}: cannot be read: {error.strerror}") from None


def _parse(path: Path, text: str) -> dict[str, Any]:
    try:
        data = tomli.loads(text)
    except tomli.TOMLDecodeError as error:
        raise SpecError(f"{path}:{error.lineno}: not valid TOML: {error.msg} (column {error.colno})") from None
    except RecursionError:
        raise SpecError(f"{path}: nested too deeply") from None
    except ValueError:  # Python reads no number of thousands of digits
        line = text.count("\n", 0, max(re.finditer("[0-9_]+", text), key=lambda run: len(run[0])).start()) + 1
        raise SpecError(f"{path}:{line}: not valid TOML: a number of thousands of digits") from None
    times = Counter(name for name, _ in _axes(data.get(SWEEP)))
    if twice := sorted(name for name, count in times.items() if count > 1):
        line = SpecText(path, text).line_of((SWEEP, twice[0]))
        raise SpecError(f"{path}:{line}: [sweep] names {twice[0]} twice, with and without quotes: remove one of them")
    return _with_axes_by_name(data)


def _with_axes_by_name(data: dict[str, Any]) -> dict[str, Any]:
    """Return the data of a file with `distill.ipc`, which TOML reads as a table without quotes, as one name."""
    return {**data, SWEEP: dict(_axes(data[SWEEP]))} if isinstance(data.get(SWEEP), dict) else data


def _axes(node: Any, above: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(node, dict):
        for key, value in cast("dict[str, Any]", node).items():
            name = above + key
            if isinstance(value, dict) and value and name != CASE:
                yield from _axes(value, f"{name}.")
            else:
                yield name, value


@lru_cache(maxsize=8)
def _prefixes(text: str) -> list[tuple[int, dict[str, Any]]]:
    """Return the beginnings of `text` that are TOML: their numbers of lines and their content."""
    prefixes: list[tuple[int, dict[str, Any]]] = [(0, {})]
    lines = text.split("\n")
    for count in range(1, len(lines) + 1):
        try:
            prefixes.append((count, _with_axes_by_name(tomli.loads("\n".join(lines[:count])))))
        except ValueError:  # no TOML yet
            continue
    return prefixes


def _at(node: Any, path: KeyPath) -> Any:
    for part in path:
        node = node[part]
    return node

"""From pydantic's errors to lines that say where, what is allowed and what was probably meant."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, cast, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from frepo.errors import near_text
from frepo.spec.document import Document
from frepo.spec.experiment import ExperimentSpec
from frepo.spec.fields import KeyPath, contains, dotted, overwrites

MOST_BITS = 10_000
"""Of an integer that is shown: Python prints none of more than 4,300 digits."""


class Written(NamedTuple):
    """Fields that something other than the file has set: an override or a value of an axis."""

    where: str
    """What has, for messages."""
    paths: tuple[KeyPath, ...]
    override: str | None = None
    """What `--set` was given, where it has."""


class Given(NamedTuple):
    """What is validated: the data of a file after some overrides and values of axes."""

    data: dict[str, Any]
    by: Written | None = None
    """The last of these; None for the file."""


class Fault(NamedTuple):
    """One error in words."""

    line: str
    """`file:line: field: what is wrong; what is allowed`."""
    by: Written | None
    """What brought it; None for the file."""


def explain(states: Sequence[Given], document: Document, table: type[BaseModel] = ExperimentSpec) -> Iterator[Fault]:
    """Yield one fault for each error in data that is to be `table`.

    `states` are the data of the file, then after an override, and so on. An error is that of whatever wrote the field
    last, else of what it came with, in whatever table it shows; else of the file.
    """
    last = states[-1]
    known = [{_signature(details, given.data) for details in _errors(given.data, table)} for given in states[:-1]]
    for details in _errors(last.data, table):
        key_path = _path_in_data(details, last.data)
        field = dotted(key_path)
        wrote = (given.by for given in states if given.by)
        writers = [by for by in wrote if any(overwrites(written, key_path) for written in by.paths)]
        by = writers[-1] if writers else _came_with(_signature(details, last.data), known, states)
        where = document.where(key_path)
        if by is not None:
            if not writers and contains(states[0].data, key_path):
                field += f" ({where})"
            where = by.where
        reason = _reason(details, key_path, by.override if by is not None and key_path in by.paths else None, table)
        yield Fault(f"{where}: {field + ': ' if field else ''}{reason}", by)


def _errors(data: dict[str, Any], table: type[BaseModel]) -> list[ErrorDetails]:
    try:
        table.model_validate(data)
    except ValidationError as error:
        return error.errors()
    return []


def _signature(details: ErrorDetails, data: Mapping[str, Any]) -> tuple[KeyPath, str, str]:
    """Return what makes an error the same one before and after an override."""
    return _path_in_data(details, data), details["msg"], _shown(details["input"])


def _came_with(
    signature: tuple[KeyPath, str, str], known: Sequence[set[tuple[KeyPath, str, str]]], states: Sequence[Given]
) -> Written | None:
    """Return what an error came with: what follows the last of the earlier states without it; None for the file."""
    without = [count for count, signatures in enumerate(known) if signature not in signatures]
    return states[without[-1] + 1].by if without else None


def _path_in_data(details: ErrorDetails, data: Mapping[str, Any]) -> KeyPath:
    """Drop from an error's location what pydantic adds: the tags of discriminated unions."""
    node: Any = data
    kept: list[str | int] = []
    location = details["loc"]
    for position, part in enumerate(location):
        if isinstance(node, Mapping) and part in node:
            node = cast("Mapping[Any, Any]", node)[part]
        elif isinstance(node, list) and isinstance(part, int):
            node = cast("list[Any]", node)[part]
        elif position < len(location) - 1 or details["type"] != "missing":
            continue
        kept.append(part)
    if details["type"].startswith("union_tag"):
        kept.append(_discriminator(details))
    return tuple(kept)


def _discriminator(details: ErrorDetails) -> str:
    """Return the field that should have chosen a table; functions, which pydantic names `f()`, look at `type`."""
    name = str(details.get("ctx", {})["discriminator"])
    return "type" if name.endswith("()") else name.strip("'")


def _reason(details: ErrorDetails, key_path: KeyPath, override: str | None, table: type[BaseModel]) -> str:
    """Return what is wrong and what to do; `override` is the `--set` that gave the value, if one did."""
    context = details.get("ctx", {})
    name = str(key_path[-1]) if key_path else ""
    match details["type"]:
        case "extra_forbidden":
            allowed = _field_names(details["loc"], table)
            return f"unknown field{_did_you_mean(name, allowed)}; allowed here: {', '.join(allowed)}"
        case "missing":
            return "this field is required"
        case "union_tag_not_found":
            return "this field is required and chooses the kind of table"
        case "union_tag_invalid":
            allowed = [tag.strip("' ") for tag in str(context["expected_tags"]).split(",")]
            return _not_allowed(details["input"][name], allowed)
        case "literal_error":
            allowed = [str(value).strip("' ") for value in str(context["expected"]).replace(" or ", ", ").split(",")]
            return _not_allowed(details["input"], allowed)
        case "value_error":
            return str(context["error"])
        case "string_pattern_mismatch":
            return f"{details['input']!r} is not allowed; it must match {context['pattern']}"
        case _:
            message = details["msg"]
            reason = f"{message[0].lower()}{message[1:]}, got {_shown(details['input'])}"
            quotable = details["type"] == "string_type" and not isinstance(details["input"], Mapping | list)
            return reason + (_how_to_quote(override) if quotable else "")


def _how_to_quote(override: str | None) -> str:
    if override is None:
        return "; put it in quotes"
    key, _, value = override.partition("=")
    return (
        f"""; put it in quotes, and all of it for the shell: --set {shlex.quote(f'{key.strip()}="{value.strip()}"')}"""
    )


def _not_allowed(value: Any, allowed: list[str]) -> str:
    return f"{_shown(value)} is not allowed{_did_you_mean(str(value), allowed)}; allowed: {', '.join(allowed)}"


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return "a table"
    if isinstance(value, list):
        return "an array"
    if isinstance(value, int) and value.bit_length() > MOST_BITS:
        return "a number of thousands of digits"
    return repr(value) if len(repr(value)) <= 60 else f"{repr(value)[:57]}..."


def _did_you_mean(name: str, allowed: list[str]) -> str:
    return near_text(name.lower(), allowed, 0.5)


def _field_names(location: tuple[str | int, ...], whole: type[BaseModel]) -> list[str]:
    """Return the field names of the table that holds the unknown key at `location` in `whole`."""
    tables: list[type[BaseModel]] = [whole]
    for part in location[:-1]:
        if isinstance(part, int):  # the place in an array of tables
            continue
        if len(tables) > 1:  # a discriminated union: pydantic puts the tag that chose into the location
            tables = [table for table in tables if part in list(_tags(table))]
        else:
            tables = list(_tables(tables[0].model_fields[part].annotation))
    return list(tables[0].model_fields)


def _tables(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _tables(argument)


def _tags(table: type[BaseModel]) -> Iterator[str]:
    """Yield the words that choose `table` in a union: the values of its `type` or `method`."""
    for name in ("type", "method"):
        if field := table.model_fields.get(name):
            yield from get_args(field.annotation)

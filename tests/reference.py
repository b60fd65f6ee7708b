"""Write the reference of commands and spec fields from the code: `python tests/reference.py > specs/reference.md`."""

import inspect
import json
from collections.abc import Generator, Iterator
from enum import EnumType
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import typer.main

from frepo.cli import app
from frepo.execute.slurm.settings import Settings
from frepo.spec import json_schema
from frepo.spec.schema import experiment_schema

HEAD = """# Reference of commands and spec fields

Written from the code by `python tests/reference.py > specs/reference.md`; a test fails where it is not current.
"""

SPEC_HEAD = """## Fields of a spec

A spec is a TOML file. Where the default is empty, the last column says what leaving the field out means. `frepo schema`
prints the same as JSON Schema, and `--set TABLE.FIELD=VALUE` of a command overrides a field (`--set
application.0.steps=500` for the first application).
"""

SLURM_HEAD = """## Fields of `slurm.toml`

What `frepo run --executor slurm` asks a cluster for, see [Slurm](slurm.md).
"""

TABLES = {
    "dataset": "`[dataset]`",
    "preprocess": "`preprocess` of `[dataset]`",
    "architecture": "`[architecture]`",
    "distill": "`[distill]`",
    "pool": "`[pool]`",
    "application": "`[[application]]`",
    "sweep": "`[sweep]`",
    "case": "`[[sweep.case]]`",
}
"""How a field that holds a table is written as a heading."""


def main() -> None:
    """Print the reference."""
    print(HEAD)
    print("## Commands\n")
    for path, command in commands(typer.main.get_command(app), ("frepo",)):
        print("\n".join(command_lines(path, command)))
    print(SPEC_HEAD)
    file, experiment = json_schema(), experiment_schema()
    schema = {**file, "required": experiment["required"], "$defs": {**file["$defs"], **experiment["$defs"]}}
    print("\n".join(table_lines("Top level", schema["description"], schema, schema["properties"])))
    for field, kinds in tables(schema, schema["$defs"]):
        print("\n".join(union_lines(field, [schema["$defs"][kind] for kind in kinds])))
    settings = Settings.model_json_schema()
    print(SLURM_HEAD)
    print(
        "\n".join(table_lines("Top level of `slurm.toml`", settings["description"], settings, settings["properties"]))
    )


def commands(group: Any, path: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    """Yield every command below a group, with the words that call it."""
    for name, below in group.commands.items():
        if below.hidden:
            continue
        if hasattr(below, "commands"):
            yield from commands(below, (*path, name))
        else:
            yield " ".join((*path, name)), below


def command_lines(path: str, command: Any) -> Generator[str]:
    """Yield a section for a command: its usage, help, arguments and options."""
    shown = [parameter for parameter in command.params if not getattr(parameter, "hidden", False)]
    arguments = [parameter.metavar for parameter in shown if parameter.param_type_name == "argument"]
    yield f"### `{path}`\n"
    yield " ".join([f"`{path}", *arguments, *(["[OPTION]..."] if len(shown) > len(arguments) else [])]) + "`\n"
    yield f"{inspect.cleandoc(command.help or '').replace(chr(8), '')}\n"
    if not shown:
        return
    hints = get_type_hints(inspect.unwrap(command.callback))
    yield "| | default | |"
    yield "|---|---|---|"
    for parameter in shown:
        yield row(f"`{written(parameter, hints)}`", command_default(parameter), parameter.help or "")
    yield ""


def written(parameter: Any, hints: dict[str, Any]) -> str:
    """Return how an argument or option is typed: with its values where they are all it may be."""
    if parameter.param_type_name == "argument":
        return parameter.metavar
    names = ", ".join((*parameter.opts, *parameter.secondary_opts))
    return names if parameter.is_flag else f"{names} {parameter.metavar or placeholder(hints[parameter.name])}"


def placeholder(hint: Any) -> str:
    """Return what stands for the value of an option of a type."""
    for kind in (hint, *get_args(hint)):  # the values, or None
        if get_origin(kind) is Literal:
            return "|".join(get_args(kind))
        if isinstance(kind, EnumType):
            return "|".join(member.value for member in kind)
    for name, kind in (("PATH", Path), ("N", int), ("N", float), ("TEXT", str)):
        if kind in (hint, *get_args(hint)):
            return name
    raise TypeError(f"no placeholder for {hint}")


def command_default(parameter: Any) -> str:
    """Return the default of an argument or option in words."""
    if parameter.required:
        return "required"
    if isinstance(getattr(parameter, "show_default", None), str):
        return parameter.show_default
    if parameter.default is None or parameter.default is False or parameter.default == ():
        return ""
    if parameter.default is True:
        return f"`{parameter.opts[0]}`"
    return f"`{getattr(parameter.default, 'value', parameter.default)}`"


def tables(node: dict[str, Any], definitions: dict[str, Any]) -> Iterator[tuple[str, list[str]]]:
    """Yield (field, names of the definitions it may hold) for every table below a table, in the order of a spec."""
    for field, description in node["properties"].items():
        if field in TABLES:
            kinds = list(dict.fromkeys(references(description)))
            yield field, kinds
            for kind in kinds:
                yield from tables(definitions[kind], definitions)


def references(node: Any) -> Iterator[str]:
    """Yield the names of the definitions that a field may hold."""
    match node:
        case {"$ref": str(name)}:
            yield name.rsplit("/", 1)[-1]
        case dict():
            for below in node.values():
                yield from references(below)
        case list():
            for below in node:
                yield from references(below)
        case _:
            pass


def union_lines(field: str, definitions: list[dict[str, Any]]) -> Generator[str]:
    """Yield a section for each kind of a table, after one for the fields that all kinds share."""
    if len(definitions) == 1:
        yield from table_lines(TABLES[field], definitions[0]["description"], *definitions, definitions[0]["properties"])
        return
    first, *others = (definition["properties"] for definition in definitions)
    shared = {name: entry for name, entry in first.items() if all(other.get(name) == entry for other in others)}
    if shared:
        yield from table_lines(f"{TABLES[field]}, all kinds", "Fields that every kind has.", definitions[0], shared)
    for definition in definitions:
        properties = definition["properties"]
        choice = next(name for name in ("type", "method") if name in properties)
        heading = f"{TABLES[field]} with `{choice} = {' | '.join(allowed_values(properties[choice]))}`"
        own = {name: properties[name] for name in (choice, *properties) if name not in shared}
        yield from table_lines(heading, definition["description"], definition, own)


def table_lines(heading: str, text: str, definition: dict[str, Any], fields: dict[str, Any]) -> Generator[str]:
    """Yield a section for a table of the spec: what it is, and those of its fields."""
    yield f"### {heading}\n"
    yield f"{text}\n"
    yield "| field | type | default | |"
    yield "|---|---|---|---|"
    for name, field in fields.items():
        default = "required" if name in definition.get("required", ()) else field_default(name, field)
        yield row(f"`{name}`", type_of(field), default, field.get("description", ""))
    yield ""


def field_default(name: str, field: dict[str, Any]) -> str:
    """Return the default of a field as TOML; of a table that may be left out, which one stands for it."""
    default = field.get("default")
    if isinstance(default, dict):
        chosen = f' with `type = "{default["type"]}"`' if "type" in default else ""
        return f"{TABLES[name]}{chosen}, its defaults"
    return "" if default is None else f"`{toml(default)}`"


def toml(value: Any) -> str:
    """Return a value as TOML: numbers, strings, truths, and lists of them are as in JSON."""
    return f"{value:g}" if isinstance(value, float) and value else json.dumps(value)


def type_of(field: dict[str, Any]) -> str:
    """Return what a field may hold, in words."""
    for option in field.get("anyOf", ()):
        if option.get("type") != "null":
            return type_of(option)
    if names := allowed_values(field):
        return ", ".join(f"`{name}`" for name in names)
    match field.get("type"):
        case "array":
            return f"list of {type_of(field['items'])}".replace("list of list", "list of lists").replace(
                "table", "tables"
            )
        case "integer" | "number" as kind:
            return f"{'integer' if kind == 'integer' else 'number'}{limits(field)}"
        case "string":
            return "string" + (f" `{field['pattern']}`" if "pattern" in field else "")
        case "boolean":
            return "`true` or `false`"
        case _:
            return "table"


def limits(field: dict[str, Any]) -> str:
    """Return the bounds of a number in words."""
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    parts = [f"{sign} {field[key]:,}" for key, sign in signs.items() if key in field]
    return f" {', '.join(parts)}" if parts else ""


def allowed_values(field: dict[str, Any]) -> list[str]:
    """Return the values of a field that are all it may hold, as TOML; none where it may hold others."""
    values = [field["const"]] if "const" in field else field.get("enum", [])
    return [toml(value) for value in values]


def row(*cells: str) -> str:
    """Return a row of a Markdown table."""
    return "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |"


if __name__ == "__main__":
    main()

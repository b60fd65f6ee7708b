"""The JSON Schema of a spec, for editors."""

from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from frepo.spec.experiment import NAME_PART, ExperimentSpec


class _IfThenSchema(GenerateJsonSchema):
    """Writes a discriminated union as if/then, so that an editor reports the error of the chosen branch."""

    def tagged_union_schema(self, schema: core_schema.TaggedUnionSchema) -> JsonSchemaValue:
        tag, default = _discriminator(schema)
        branches = {str(name): self.generate_inner(choice) for name, choice in schema["choices"].items()}
        chosen = [
            {
                "if": {
                    "type": "object",
                    "properties": {tag: {"const": name}},
                    **({} if name == default else {"required": [tag]}),
                },
                "then": branch,
            }
            for name, branch in branches.items()
        ]
        return {
            "type": "object",
            "properties": {tag: {"enum": list(branches)}},
            **({} if default else {"required": [tag]}),
            "allOf": chosen,
        }


def _discriminator(schema: core_schema.TaggedUnionSchema) -> tuple[str, str | None]:
    """Return the field that chooses a branch, and the default branch, if any."""
    match schema["discriminator"]:
        case str(field):
            return field, None
        case list():
            raise TypeError("no table is chosen by a path")
        case function:
            return "type", str(function({}))


SWEEP_TABLES: dict[str, Any] = {
    "Sweep": {
        "title": "Sweep",
        "description": (
            "Many experiments in one file: every combination of the axes, the first one slowest. An axis is a field, "
            "named as `--set` names it, with a list of values: `seed = [0, 1, 2]`, `distill.ipc = [1, 10]`. An "
            "experiment is named after the file's `name` and its values: `main-seed0-ipc10`."
        ),
        "type": "object",
        "properties": {
            "case": {
                "description": "Fields that change together: one axis, with a value for each `[[sweep.case]]`.",
                "type": "array",
                "minItems": 1,
                "items": {"$ref": "#/$defs/Case"},
            }
        },
        "additionalProperties": {"type": ["array", "object"], "minItems": 1},
        "minProperties": 1,
    },
    "Case": {
        "title": "Case",
        "description": (
            "One value of the axis `case`: fields and what they are set to, their dotted names in quotes, "
            '`"dataset.name" = "cifar10"`.'
        ),
        "type": "object",
        "properties": {
            "label": {
                "description": "What the names of experiments call it.",
                "type": "string",
                "pattern": NAME_PART,
            }
        },
        "required": ["label"],
    },
}
"""What pydantic does not know: these tables are gone once a spec is validated."""

FILE_FIELDS: dict[str, Any] = {
    "extends": {
        "description": (
            "A spec file to start from, relative to this one: tables merge, anything else, lists too, is replaced."
        ),
        "type": "string",
        "minLength": 1,
    },
    "sweep": {"$ref": "#/$defs/Sweep", "description": "Axes, where the file holds many experiments."},
}


def experiment_schema() -> dict[str, Any]:
    """Return the JSON Schema of the tables of one experiment, with what has to be there."""
    return ExperimentSpec.model_json_schema(schema_generator=_IfThenSchema)


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a spec file.

    What has to be there is demanded apart, of a file that neither extends another one nor sweeps: in such a file a
    field may come from elsewhere.
    """
    schema = experiment_schema()
    needs = _take_needs(schema, schema["$defs"], {})
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "$defs": {**schema["$defs"], **SWEEP_TABLES},
        "properties": {**schema["properties"], **FILE_FIELDS},
        "if": {"anyOf": [{"required": [name]} for name in FILE_FIELDS]},
        "else": needs,
    }


def _take_needs(node: dict[str, Any], definitions: dict[str, Any], taken: dict[str, Any]) -> dict[str, Any]:
    """Take out of a table, and of the tables in its fields, what has to be there, and return it as a schema.

    Lists keep it: they are whole in any file. `taken` holds what was taken out of definitions.
    """
    if "$ref" in node:
        name = node["$ref"].rsplit("/", 1)[-1]
        if name not in taken:
            taken[name] = _take_needs(definitions[name], definitions, taken)
        return taken[name]
    needs: dict[str, Any] = {"required": node.pop("required")} if "required" in node else {}
    fields = {name: _take_needs(field, definitions, taken) for name, field in node.get("properties", {}).items()}
    branches = [
        {"if": branch["if"], "then": below}
        for branch in node.get("allOf", ())
        if "if" in branch and (below := _take_needs(branch["then"], definitions, taken))
    ]
    if held := {name: field for name, field in fields.items() if field}:
        needs["properties"] = held
    return needs | ({"allOf": branches} if branches else {})

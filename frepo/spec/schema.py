"""The JSON Schema of a spec, for editors."""

from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from frepo.spec.experiment import ExperimentSpec


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


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of an experiment spec."""
    schema = ExperimentSpec.model_json_schema(schema_generator=_IfThenSchema)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}

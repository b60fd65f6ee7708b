"""What every table of a spec has in common."""

import ast
import inspect
from collections.abc import Collection
from itertools import pairwise
from textwrap import dedent
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    SerializerFunctionWrapHandler,
    model_serializer,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

Entries = TypeVar("Entries", bound=Collection[object] | None)


class Table(BaseModel):
    """A frozen table without unknown keys; its attributes' docstrings are the documentation of its fields."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
    )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        # By pydantic's `use_attribute_docstrings` every start of frepo would read the source of every table.
        found = handler(schema)
        properties = handler.resolve_ref_schema(found)["properties"]
        for base in reversed(cls.__mro__):
            if issubclass(base, Table):
                for name, text in docstrings_of_attributes(base).items():
                    properties[name]["description"] = text
        return found


def docstrings_of_attributes(table: type[Table]) -> dict[str, str]:
    """Return the strings that stand below fields in the source of a table, by field."""
    (definition,) = ast.parse(dedent(inspect.getsource(table))).body
    assert isinstance(definition, ast.ClassDef)
    found: dict[str, str] = {}
    for field, below in pairwise(definition.body):
        match field, below:
            case ast.AnnAssign(ast.Name(name)), ast.Expr(ast.Constant(str(text))) if name in table.model_fields:
                found[name] = inspect.cleandoc(text)
            case _:
                pass
    return found


class Grown(Table):
    """A table that fields were added to after results had been computed.

    Attributes:
        added: these fields. At their defaults they are left out of what is written, so that fingerprints from before
            there were such fields stay what they were, and so do the results.
    """

    added: ClassVar[tuple[str, ...]]

    @model_serializer(mode="wrap")
    def _without_what_was_added(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        written: dict[str, Any] = handler(self)
        fields = type(self).model_fields
        unused = {name for name in self.added if getattr(self, name) == fields[name].default}
        return {name: value for name, value in written.items() if name not in unused}


def _refuse_repeated(value: Entries) -> Entries:
    if value is not None and len(set(value)) < len(value):
        raise ValueError("names an entry twice")
    return value


Distinct = AfterValidator(_refuse_repeated)
"""Of a list whose entries differ."""

Count = Annotated[int, Field(ge=1, le=10_000_000)]
"""Of images or classes. All integers have a largest value, within what NumPy, JAX and the database count up to."""
Few = Annotated[int, Field(ge=1, le=1000)]
"""Of networks or points."""
Side = Annotated[int, Field(ge=1, le=16_384)]
"""Pixels."""
Width = Annotated[int, Field(ge=1, le=1_000_000)]
"""Channels."""
Epochs = Annotated[int, Field(ge=1, le=100_000)]
Steps = Annotated[int, Field(ge=1, le=1_000_000_000)]
Waiting = Annotated[int, Field(ge=0, le=1_000_000_000)]
"""Steps that may be none."""
Index = Annotated[int, Field(ge=0, lt=10_000_000)]
"""Position of something that there may be a `Count` of, from 0."""
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Fraction = Annotated[float, Field(gt=0, lt=1)]
Positive = Annotated[float, Field(gt=0, le=1_000_000)]
LearningRate = Annotated[float, Field(gt=0, le=100)]

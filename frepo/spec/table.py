"""What every table of a spec has in common."""

from collections.abc import Collection
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

Entries = TypeVar("Entries", bound=Collection[object] | None)


class Table(BaseModel):
    """A frozen table without unknown keys; its attributes' docstrings are the documentation of its fields."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )


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

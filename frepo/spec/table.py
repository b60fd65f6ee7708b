"""What every table of a spec has in common."""

from collections.abc import Collection
from typing import Annotated, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

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


def _refuse_repeated(value: Entries) -> Entries:
    if value is not None and len(set(value)) < len(value):
        raise ValueError("names an entry twice")
    return value


Distinct = AfterValidator(_refuse_repeated)
"""Of a list whose entries differ."""

Count = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(gt=0, lt=1)]
LearningRate = Annotated[float, Field(gt=0, le=100)]

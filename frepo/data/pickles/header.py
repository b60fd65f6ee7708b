"""Arrays whose headers were read, and the kinds of numbers that they may have."""

from collections.abc import Callable
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

MOST_DIMENSIONS = 8
DTYPES: dict[str, np.dtype[Any]] = {
    **{name: np.dtype(name) for name in ("float16", "float32", "float64")},
    **{f"{sign}int{bits}": np.dtype(f"{sign}int{bits}") for sign in ("", "u") for bits in (8, 16, 32, 64)},
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
}
NPY_DTYPES = {dtype.str.lstrip("<|"): name for name, dtype in DTYPES.items() if name != "bfloat16"}
"""Names of `DTYPES` by NumPy's codes."""


class Stored(NamedTuple):
    """An array whose header was read."""

    name: str
    dtype: str
    """As the file calls it where it is none of `DTYPES`."""
    shape: tuple[int, ...]
    load: Callable[[], np.ndarray]


def numbers(values: Any) -> tuple[int, ...]:
    """Return a shape, or the steps between its entries, which a stranger's file declares.

    Raises:
        ValueError: it is no such thing.
    """
    if not isinstance(values, tuple | list) or len(values) > MOST_DIMENSIONS:
        raise ValueError("it has an array without a shape")
    if not all(type(number) is int and 0 <= number < 2**63 for number in values):
        raise ValueError("it has an array without a shape")
    return tuple(values)

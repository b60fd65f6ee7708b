"""NumPy's arrays and numbers in pickles of protocol 2, as Python 2 and 3 write them."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from frepo.data.pickles.header import DTYPES, NPY_DTYPES, Stored, numbers
from frepo.data.pickles.plain import Maker


@dataclass(frozen=True)
class Text:
    """Bytes that are written as text, one character each.

    They are made when they are read: a pickle may name the same text any number of times.
    """

    text: str

    def __len__(self) -> int:
        return len(self.text)

    def __bytes__(self) -> bytes:
        return self.text.encode("latin-1")


@dataclass
class NumpyType:
    """A type of numbers; the order of their bytes follows as its state."""

    code: str
    order: str = "<"

    def set_state(self, state: Any) -> None:
        """Take the state, whose second entry is the order of bytes."""
        self.order = {">": ">"}.get(state[1], "<")

    @property
    def name(self) -> str:
        """As the other readers call it; as NumPy does where it is none of `DTYPES`."""
        return NPY_DTYPES.get(self.code.lstrip("<>=|"), self.code)

    @property
    def stored(self) -> np.dtype[Any]:
        """The type of the numbers as they are stored.

        Raises:
            KeyError: it is none of `DTYPES`.
        """
        return DTYPES[self.name].newbyteorder(self.order)  # pyright: ignore[reportArgumentType] (one of two letters)


@dataclass
class NumpyArray:
    """An array; shape, type and bytes follow as its state."""

    array: Stored | None = None

    def set_state(self, state: Any) -> None:
        """Take the state: version, shape, type, whether the first index runs fastest, bytes.

        Raises:
            ValueError: they do not fit together.
        """
        _, shape, dtype, fortran, data = state
        if not isinstance(dtype, NumpyType):
            raise TypeError("it has an array without a type")
        shape = numbers(shape)
        data = Text(data) if isinstance(data, str) else data  # the strings of Python 2

        def load() -> np.ndarray:
            if not isinstance(data, Text | bytes) or len(data) != math.prod(shape) * dtype.stored.itemsize:
                raise ValueError("an array has not the size that its shape asks for")
            array = np.frombuffer(bytes(data), dtype.stored).reshape(shape, order="F" if fortran else "C")
            return array.astype(DTYPES[dtype.name], copy=False)

        self.array = Stored("", dtype.name, shape, load)


def _dtype(code: Any, *_: Any) -> NumpyType:
    if not isinstance(code, str):
        raise TypeError("it has an array without a type")
    return NumpyType(code)


def _scalar(dtype: Any, data: Any = None) -> int | float | None:
    """Return a number; None for one of a kind that distilled data have no use for."""
    if not isinstance(dtype, NumpyType) or dtype.name not in DTYPES:
        return None
    if not isinstance(data, Text | bytes) or len(data) != dtype.stored.itemsize:
        raise ValueError("it has a number of the wrong size")
    return np.frombuffer(bytes(data), dtype.stored)[0].item()


def _text(text: Any, encoding: Any) -> Text:
    if not isinstance(text, str) or encoding != "latin1":
        raise ValueError("it has bytes that NumPy does not write")
    return Text(text)


def _array(*_: Any) -> NumpyArray:
    return NumpyArray()


NAMES: dict[str, Any] = {
    **{f"numpy.{core}.multiarray scalar": Maker(_scalar) for core in ("core", "_core")},
    **{f"numpy.{core}.multiarray _reconstruct": Maker(_array) for core in ("core", "_core")},
    "numpy ndarray": None,
    "numpy dtype": Maker(_dtype),
    "_codecs encode": Maker(_text),
    **{f"{module} bytes": Maker(lambda: b"") for module in ("builtins", "__builtin__")},
}
"""What stands for names of NumPy."""

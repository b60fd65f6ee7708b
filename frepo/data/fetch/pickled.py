"""Pickles of dicts, lists, numbers, bytes and arrays, as the CIFAR archives hold them; nothing else is ever built."""

import io
import pickle
from typing import Any

import numpy as np

DTYPES = ("u1", "i1", "i4", "i8")
DEEPEST = 8
ARRAYS = ("numpy.core.multiarray", "numpy._core.multiarray")


class _Array:
    """An array during its reading."""

    value: np.ndarray | None = None

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, by_columns, content = state
        if not isinstance(dtype, _Dtype) or not isinstance(content, bytes):
            raise pickle.UnpicklingError("an array whose content is not plain bytes")
        flat = np.frombuffer(content, np.dtype(dtype.name))
        self.value = flat.reshape(shape, order="F" if by_columns else "C")


class _Dtype:
    """A dtype during the reading of its array."""

    def __init__(self, name: Any, *_: Any) -> None:
        self.name = name.decode() if isinstance(name, bytes) else name
        if self.name not in DTYPES:
            raise pickle.UnpicklingError(f"an array of {self.name!r}")

    def __setstate__(self, state: Any) -> None:
        """Ignore byte order and alignment: the names above mean little-endian."""
        if state[1] not in ("<", "|", b"<", b"|"):
            raise pickle.UnpicklingError("an array of another byte order")


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """Return a stand-in for the few names that arrays are pickled with; nothing is imported."""
        if (module, name) == ("numpy", "ndarray"):
            return object  # only the first argument of `_reconstruct`
        if (module, name) == ("numpy", "dtype"):
            return lambda *arguments: _Dtype(*arguments)
        if module in ARRAYS and name == "_reconstruct":
            return lambda *_: _Array()
        if (module, name) == ("_codecs", "encode"):  # bytes in a pickle of Python 2's protocol
            return lambda text, _: text.encode("latin1")
        raise pickle.UnpicklingError(f"the name {module}.{name}")

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError(f"a reference to {pid!r}")


def read_pickled(content: bytes) -> Any:
    """Return what a pickle holds: dicts, lists, tuples, numbers, bytes, text and integer arrays.

    Raises:
        ValueError: it is damaged or holds anything else; nothing of that was built or called.
    """
    try:
        return _plain(_Reader(io.BytesIO(content), encoding="bytes").load(), DEEPEST)
    except Exception as error:  # of a damaged pickle, of any kind
        raise ValueError(f"not a pickle of plain values and arrays: {error}") from None


def _plain(found: Any, deepest: int) -> Any:
    if isinstance(found, _Array) and found.value is not None:
        return found.value
    if isinstance(found, (bytes, str, int, float, type(None))):
        return found
    if deepest and isinstance(found, dict):
        return {_plain(key, 0): _plain(value, deepest - 1) for key, value in found.items()}
    if deepest and isinstance(found, (list, tuple)):
        return [_plain(value, deepest - 1) for value in found]
    raise ValueError(f"a {type(found).__name__}")

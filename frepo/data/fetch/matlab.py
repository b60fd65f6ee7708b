"""Arrays of numbers in files of MATLAB 5, in the layout of MathWorks's "MAT-File Format".

SciPy reads them too, but ends the process by a segmentation fault where some bytes of a file have changed.
"""

import math
import struct
import zlib
from collections.abc import Iterator

import numpy as np

HEADER = 128
"""Bytes before the first element."""
ELEMENT = struct.Struct("<II")
"""Type and size in bytes of an element."""
MATRIX, COMPRESSED = 14, 15
"""Types of elements: an array, and one that is another one, compressed."""
INT8, INT32, UINT32 = 1, 5, 6
NUMBERS = {1: "i1", 2: "u1", 3: "<i2", 4: "<u2", 5: "<i4", 6: "<u4", 7: "<f4", 9: "<f8", 12: "<i8", 13: "<u8"}
"""NumPy's dtype for each type of elements of numbers."""
CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}
"""NumPy's dtype for each class of arrays of numbers; MATLAB stores them in a smaller type where that holds them."""
COMPLEX = 0x800
NOTHING = 0, memoryview(b"")
"""Type and bytes where an element is missing."""
MOST_UNPACKED = 2**28
"""Bytes of all arrays of a file; those of SVHN have 225 MB."""


def read_arrays(content: bytes, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Return the arrays of real numbers with these names, all that are there, in the memory order of Fortran.

    Raises:
        ValueError: it is no such file, damaged or too large.
    """
    if content[124:HEADER] != b"\0\1IM":
        raise ValueError("it is no file of MATLAB 5")
    found: dict[str, np.ndarray] = {}
    left = MOST_UNPACKED
    for kind, element in _elements(memoryview(content)[HEADER:], padded=False):
        whole = _decompressed(element, left + 1) if kind == COMPRESSED else element
        left -= len(whole)
        if left < 0:
            raise ValueError(f"its variables have more than {MOST_UNPACKED:,} bytes")
        inner = next(_elements(whole), NOTHING) if kind == COMPRESSED else (kind, element)
        if inner[0] == MATRIX and (array := _array(inner[1], names)) is not None:
            found[array[0]] = array[1]
    return found


def _decompressed(element: memoryview, most: int) -> memoryview:
    """Return at most so many bytes of what an element holds, which may be a thousand times more than it has."""
    try:
        return memoryview(zlib.decompressobj().decompress(element, most))
    except zlib.error as error:
        raise ValueError(f"an element is damaged ({error})") from None


def _elements(content: memoryview, *, padded: bool = True) -> Iterator[tuple[int, memoryview]]:
    """Yield the type and the bytes of one element after the other; inside of an array they start at multiples of 8."""
    place = 0
    while place + ELEMENT.size <= len(content):
        kind, size = ELEMENT.unpack_from(content, place)
        start = place + ELEMENT.size
        if kind >> 16:  # at most four bytes, in place of the size
            kind, size, start = kind & 0xFFFF, kind >> 16, place + 4
            if size > 4:
                raise ValueError(f"a small element of {size:,} bytes")
        if start + size > len(content):
            raise ValueError("it ends in the middle of an element")
        yield kind, content[start : start + size]
        place = max(start + size, place + ELEMENT.size)
        place += -place % 8 if padded else 0


def _array(content: memoryview, names: tuple[str, ...]) -> tuple[str, np.ndarray] | None:
    """Return the name and the numbers of an array, or None where it has another name than these."""
    parts = _elements(content)
    flags, sizes, name = (_part(parts, kind) for kind in (UINT32, INT32, INT8))
    called = str(name, "latin-1")
    if called not in names:
        return None
    of_class = int.from_bytes(flags[:4], "little")
    dtype = CLASSES.get(of_class & 0xFF)
    if dtype is None or of_class & COMPLEX:
        raise ValueError(f"{called} is no array of real numbers")
    shape = np.frombuffer(sizes, "<i4").tolist()
    stored_as, numbers = next(parts, NOTHING)
    if stored_as not in NUMBERS or min(shape, default=-1) < 0:
        raise ValueError(f"{called} has no numbers")
    array = np.frombuffer(numbers, NUMBERS[stored_as])
    if len(array) != math.prod(shape):
        raise ValueError(f"{called} has {len(array):,} numbers, not {' x '.join(map(str, shape))}")
    return called, array.astype(dtype, copy=False).reshape(shape, order="F")


def _part(parts: Iterator[tuple[int, memoryview]], kind: int) -> memoryview:
    found, content = next(parts, NOTHING)
    if found != kind:
        raise ValueError("an array is damaged")
    return content

"""Arrays of Flax checkpoints, which are msgpack."""

import math
import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import msgpack
import numpy as np

from frepo.data.pickles.header import DTYPES, Stored
from frepo.errors import FrepoError
from frepo.exchange.imports.stored import Found, listed

TABLES = ("ema_average/", "params/", "")
"""Where Flax checkpoints have x_proto and y_proto, the place to be preferred first.

RCIG evaluates the average and keeps the parameters beside it; FRePo has no average of distilled data: null.
"""
MOST_ENTRIES = 2**16
"""Entries of a table in a Flax checkpoint; those of distilled data have a handful."""
MSGPACK_TABLES = (*range(0x80, 0x90), 0xDE, 0xDF)
"""First bytes of what msgpack calls maps."""
MSGPACK_EXTENSIONS = (*range(0xC7, 0xCA), *range(0xD4, 0xD9))
"""First bytes of what a program adds to msgpack: arrays."""


@contextmanager
def open_flax(path: Path) -> Generator[Found]:
    """Yield the headers of images and labels; what else is in the file is gone past.

    Raises:
        Exception: of any kind, for bytes that are no such file.
    """
    with path.open("rb") as file:
        # containers are walked through: a length that an unread one declares, or how deep it goes, costs nothing
        items = msgpack.Unpacker(file, max_buffer_size=2**32 - 1, max_array_len=0, max_map_len=0)
        names: list[str] = []
        arrays: dict[str, Stored] = {}
        for key, first in _entries(items, file):
            names.append(key)
            if f"{key}/" in TABLES and first in MSGPACK_TABLES:
                for inner, kind in _entries(items, file):
                    names.append(f"{key}/{inner}")
                    _collect(items, file, names[-1], kind, arrays)
            else:
                _collect(items, file, key, first, arrays)
        if items.tell() != path.stat().st_size:
            raise ValueError("it goes on behind its end")
    for table in TABLES:
        if f"{table}x_proto" in arrays and f"{table}y_proto" in arrays:
            yield Found(arrays[f"{table}x_proto"], arrays[f"{table}y_proto"])
            return
    raise FrepoError(
        f"{path} holds {listed(names)}: no x_proto and y_proto in ema_average, in params or by themselves; save its "
        "images and labels with numpy.savez(FILE, images=IMAGES, labels=LABELS)"
    )


def _entries(items: msgpack.Unpacker, file: IO[bytes]) -> Iterator[tuple[str, int]]:
    """Yield the keys of the table that comes next, and the first bytes of their values, which the caller goes past."""
    count = items.read_map_header()
    if count > MOST_ENTRIES:
        raise ValueError(f"it has a table of {count:,} entries")
    for _ in range(count):
        key = items.unpack()
        if not isinstance(key, str):
            raise TypeError("it has an entry without a name")
        yield key, (os.pread(file.fileno(), 1, items.tell()) or b"\0")[0]


def _collect(items: msgpack.Unpacker, file: IO[bytes], name: str, first: int, arrays: dict[str, Stored]) -> None:
    """Go past a value, and remember it where it is an array of distilled data."""
    if name.rpartition("/")[2] not in ("x_proto", "y_proto") or first not in (*MSGPACK_TABLES, *MSGPACK_EXTENSIONS):
        items.skip()
    elif first in MSGPACK_TABLES:
        arrays[name] = _unchunked(items, file, name)
    else:
        arrays[name] = _packed(name, items.unpack())


def _packed(name: str, packed: Any) -> Stored:
    """Return an array as Flax packs it: a list of shape, type and bytes."""
    if not isinstance(packed, msgpack.ExtType) or packed.code != 1:
        raise ValueError(f"{name} is no array")
    header = msgpack.Unpacker(max_array_len=0, max_map_len=0)
    header.feed(packed.data[:256])
    parts = header.read_array_header()
    shape = tuple(header.unpack() for _ in range(min(header.read_array_header(), 8)))
    dtype, offset = header.unpack(), header.tell()
    if parts != 3 or not all(type(number) is int for number in shape) or not isinstance(dtype, str):
        raise ValueError(f"{name} is no array")

    def load() -> np.ndarray:
        size = math.prod(shape) * DTYPES[dtype].itemsize
        start = len(packed.data) - size
        width = {0xC4: 1, 0xC5: 2, 0xC6: 4}.get(packed.data[offset], 0)
        if start != offset + 1 + width or int.from_bytes(packed.data[offset + 1 : start], "big") != size:
            raise ValueError(f"{name} has not the size that its shape asks for")
        return np.frombuffer(packed.data, DTYPES[dtype], offset=start).reshape(shape)

    return Stored(name, dtype, shape, load)


def _unchunked(items: msgpack.Unpacker, file: IO[bytes], name: str) -> Stored:
    """Return an array that Flax has split because it is larger than msgpack can hold: a table of shape and pieces."""
    tables: dict[str, list[Any]] = {"shape": [], "chunks": []}
    for key, first in _entries(items, file):
        if key in tables and first in MSGPACK_TABLES:
            entries = {inner: items.unpack() for inner, _ in _entries(items, file)}
            tables[key] = [entries.get(str(position)) for position in range(len(entries))]
        else:
            items.skip()
    shape = tuple(tables["shape"])
    pieces = [_packed(name, piece) for piece in tables["chunks"]]
    count = sum(math.prod(piece.shape) for piece in pieces)
    kinds = {piece.dtype for piece in pieces}
    if not all(type(number) is int for number in shape) or len(kinds) != 1 or math.prod(shape) != count:
        raise ValueError(f"{name} has not the size that its shape asks for")
    return Stored(name, kinds.pop(), shape, lambda: np.concatenate([p.load().ravel() for p in pieces]).reshape(shape))

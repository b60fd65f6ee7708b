"""Files of distilled data to arrays: Flax checkpoints, .npz and .safetensors.

The files come from strangers. Nothing is unpickled, a file that lies about its sizes costs no memory, and whatever is
wrong with it becomes a FrepoError.
"""

import math
import os
import re
import stat
import zipfile
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import IO, Any, NamedTuple

import ml_dtypes
import msgpack
import numpy as np
from safetensors import safe_open

from frepo.errors import FrepoError

PAIRS = (
    *(("images", "labels"), ("image", "label"), ("x_proto", "y_proto")),
    *(("x_syn", "y_syn"), ("x", "y"), ("data", "targets")),
)
"""Names of images and labels in .npz and .safetensors files."""
TABLES = ("ema_average/", "params/", "")
"""Where Flax checkpoints have x_proto and y_proto, the place to be preferred first.

RCIG evaluates the average and keeps the parameters beside it; FRePo has no average of distilled data: null.
"""
LARGEST = 2**34
"""Bytes of images and labels together; more is refused as an attack or a mistake."""
MOST_ENTRIES = 2**16
"""Entries of a table in a Flax checkpoint; those of distilled data have a handful."""
MSGPACK_TABLES = (*range(0x80, 0x90), 0xDE, 0xDF)
"""First bytes of what msgpack calls maps."""
MSGPACK_EXTENSIONS = (*range(0xC7, 0xCA), *range(0xD4, 0xD9))
"""First bytes of what a program adds to msgpack: arrays."""
PIECE = 2**20
"""Bytes that are unpacked at once."""
DTYPES: dict[str, np.dtype[Any]] = {
    **{name: np.dtype(name) for name in ("float16", "float32", "float64")},
    **{f"{sign}int{bits}": np.dtype(f"{sign}int{bits}") for sign in ("", "u") for bits in (8, 16, 32, 64)},
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
}
NPY_DTYPES = {dtype.str.lstrip("<|"): name for name, dtype in DTYPES.items() if name != "bfloat16"}
NPY_HEADER = re.compile(rb"\{'descr': (.+?), 'fortran_order': (True|False), 'shape': \(([0-9, ]*)\),? ?\} *\n")
SAFETENSORS_DTYPES = {
    **{f"F{bits}": f"float{bits}" for bits in (16, 32, 64)},
    **{f"{sign}{bits}": f"{name}{bits}" for sign, name in (("I", "int"), ("U", "uint")) for bits in (8, 16, 32, 64)},
    "BF16": "bfloat16",
}
ORBAX = ("_CHECKPOINT_METADATA", "_METADATA", "_sharding", "manifest.ocdbt")
"""What lies in the directory of an Orbax checkpoint, among other things."""


@dataclass(frozen=True)
class Foreign:
    """What a file holds, as it is there.

    Attributes:
        images: numbers of any kind and shape.
        labels: numbers of any kind and shape.
        path: the file that was read.
        names: what images and labels are called in it.
    """

    images: np.ndarray
    labels: np.ndarray
    path: Path
    names: tuple[str, str] = PAIRS[0]


class _Stored(NamedTuple):
    """An array whose header was read."""

    name: str
    dtype: str
    """As the file calls it where it is none of `DTYPES`."""
    shape: tuple[int, ...]
    load: Callable[[], np.ndarray]


def read_arrays(path: Path) -> Foreign:
    """Return images and labels of a file, or of the newest or best checkpoint in a directory.

    What kind of file it is follows from its content. Numbers and their types come back as they are.

    Raises:
        FrepoError: it cannot be read, does not have both arrays, or is of a kind that may run code.
    """
    try:
        if not path.exists():
            raise FrepoError(f"there is no file {path}")
        if path.is_dir():
            path = _file_of(path)
        kind = _kind(path)
        if kind is None:
            raise FrepoError(
                f"{path} is no Flax checkpoint and no .npz or .safetensors file; save images and labels with "
                "numpy.savez(FILE, images=IMAGES, labels=LABELS)"
            )
        with kind(path) as pair:
            _check(path, pair)
            images, labels = (array.load() for array in pair)
        return Foreign(images, labels, path, (pair[0].name, pair[1].name))
    except FrepoError:
        raise
    except OSError as error:
        raise FrepoError(f"{path} cannot be read: {error.strerror or error}") from None
    except Exception as error:  # the readers raise many kinds for bytes that are not theirs
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        reason = "".join(character if character.isprintable() else "?" for character in reason)
        raise FrepoError(f"{path} cannot be read ({reason}); copy it again, or save it again as .npz") from None


def _file_of(directory: Path) -> Path:
    """Return the checkpoint of `directory` with the largest number, a step or an accuracy, or its only data file."""
    entries = sorted(directory.iterdir())
    _refuse_orbax(directory, entries)
    numbers = {entry: number for entry in entries if (number := _number(entry.name)) is not None}
    last = max(numbers.values(), default=None)
    largest = [entry for entry, number in numbers.items() if number == last]
    if not largest:
        largest = [entry for entry in entries if entry.is_file() and entry.stat().st_size and _kind(entry) is not None]
    if not largest:
        folders = [entry.name for entry in entries if entry.is_dir()]
        hint = f"; name one of its folders: {_listed(folders)}" if folders else ""
        raise FrepoError(f"{directory} has no file checkpoint_NUMBER, .npz or .safetensors{hint}")
    if len(largest) > 1:
        raise FrepoError(f"{directory} has several files to choose from, name one: {_listed(p.name for p in largest)}")
    if largest[0].is_dir():
        _refuse_orbax(largest[0], largest[0].iterdir())
        raise FrepoError(f"{largest[0]} is a folder, not a checkpoint; name a file")
    return largest[0]


def _number(name: str) -> Decimal | None:
    match = re.fullmatch(r"checkpoint_(?:([0-9]+(?:\.[0-9]+)?)|final)", name)
    if match is None:
        return None
    return Decimal(match[1] or "Infinity")  # RCIG's name for the last step


def _refuse_orbax(directory: Path, entries: Iterable[Path]) -> None:
    if any(entry.name in ORBAX or entry.name.startswith("ocdbt") for entry in entries):
        raise FrepoError(
            f"{directory} is an Orbax checkpoint, which is not read here; restore it with orbax.checkpoint and save "
            "its images and labels with numpy.savez(FILE, images=IMAGES, labels=LABELS)"
        )


def _kind(path: Path) -> Callable[[Path], AbstractContextManager[tuple[_Stored, _Stored]]] | None:
    """Return what opens the file, by its first bytes; None for none of the known kinds."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise FrepoError(f"{path} is not a regular file; copy what it gives into one")
    if not status.st_size:
        raise FrepoError(f"{path} is empty; copy it again")
    with path.open("rb") as file:
        start = file.read(16)
    if start.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _npz
    if start[5:9] == b"\0\0\0{":  # after a length of 8 bytes
        return _safetensors
    if re.match(rb"\x80[\x02-\x0f]", start):
        return _pickled
    if re.match(rb"([\x81-\x8f]|\xde..|\xdf....)[\xa0-\xbf\xd9]", start, re.DOTALL):  # a table, its first key a string
        return _flax
    return None


def _pickled(path: Path) -> AbstractContextManager[tuple[_Stored, _Stored]]:
    raise FrepoError(
        f"{path} holds pickled objects, as torch.save writes them; to read those may run code, so it is not done here. "
        "Convert the file with PyTorch (change the names to those that it has):\n"
        f"  saved = torch.load({str(path)!r}, map_location='cpu', weights_only=True)\n"
        "  numpy.savez('distilled.npz', images=saved['images'].numpy(), labels=saved['labels'].numpy())"
    )


def _check(path: Path, pair: Sequence[_Stored]) -> None:
    """Hold what the headers say against what can be images and labels."""
    size = 0
    for array in pair:
        if array.dtype not in DTYPES:
            raise FrepoError(f"{path}: {array.name} has numbers of the kind {array.dtype[:40]!r}; save them as float32")
        if min(array.shape, default=0) < 1:
            raise FrepoError(f"{path}: {array.name} has the shape {array.shape}: there is nothing in it")
        size += math.prod(array.shape) * DTYPES[array.dtype].itemsize
    if size > LARGEST:
        raise FrepoError(f"{path} declares images and labels of {size:,} bytes, more than {LARGEST:,}; split it")


def _pair(path: Path, names: Iterable[str]) -> tuple[str, str]:
    """Return which of `PAIRS` a file has."""
    names = sorted(names)
    found = [pair for pair in PAIRS if set(pair) <= set(names)]
    if len(found) != 1:
        raise FrepoError(
            f"{path} holds {_listed(names)}: {'several pairs' if found else 'no pair'} of images and labels; save one, "
            f"called {', '.join(map('/'.join, PAIRS[:-1]))} or {'/'.join(PAIRS[-1])}"
        )
    return found[0]


def _listed(names: Iterable[str]) -> str:
    """Return names for a message, not too many of them and none that moves the cursor."""
    shown = [ascii(name[:60]) for name in names]
    return ", ".join(shown[:20]) + (f" and {len(shown) - 20} more" if len(shown) > 20 else "") or "nothing"


@contextmanager
def _npz(path: Path) -> Generator[tuple[_Stored, _Stored]]:
    with zipfile.ZipFile(path) as archive:
        members = archive.namelist()
        if any(Path(member).name == "data.pkl" for member in members):
            _pickled(path)
        first, second = _pair(path, (member.removesuffix(".npy") for member in members if member.endswith(".npy")))
        yield _npy(archive, first), _npy(archive, second)


def _npy(archive: zipfile.ZipFile, name: str) -> _Stored:
    """Return a member of an .npz file.

    Its header is a Python literal, but NumPy writes one form only: nothing has to be evaluated.
    """
    member = archive.getinfo(f"{name}.npy")
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{name} is compressed in a way that NumPy does not use")
    with archive.open(member) as file:
        start = file.read(8)
        length = int.from_bytes(file.read(2 if start[6:7] == b"\x01" else 4), "little")
        header = NPY_HEADER.fullmatch(file.read(min(length, 2**16)))
        offset = file.tell()
    if not start.startswith(b"\x93NUMPY") or header is None:
        raise ValueError(f"{name} is no array")
    shape = tuple(int(number) for number in header[3].decode().split(",") if number.strip())
    code = header[1].decode("ascii", "replace").strip("'")
    dtype = NPY_DTYPES.get(code.lstrip("<>=|"), code)

    def load() -> np.ndarray:
        stored = DTYPES[dtype].newbyteorder(">" if code.startswith(">") else "<")
        if member.file_size != offset + math.prod(shape) * stored.itemsize:
            raise ValueError(f"{name} has not the size that its shape asks for")
        array = np.empty(math.prod(shape), stored)
        rest = array.view(np.uint8).data
        with archive.open(member) as file:
            file.read(offset)
            while rest and (piece := file.read(min(len(rest), PIECE))):
                rest[: len(piece)] = piece
                rest = rest[len(piece) :]
        if rest:
            raise EOFError(f"{name} ends too early")
        return array.reshape(shape, order="F" if header[2] == b"True" else "C").astype(DTYPES[dtype], copy=False)

    return _Stored(name, dtype, shape, load)


@contextmanager
def _safetensors(path: Path) -> Generator[tuple[_Stored, _Stored]]:
    with safe_open(path, framework="numpy") as file:

        def stored(name: str) -> _Stored:
            header = file.get_slice(name)
            dtype = str(header.get_dtype())
            shape = tuple(header.get_shape())
            return _Stored(name, SAFETENSORS_DTYPES.get(dtype, dtype), shape, lambda: file.get_tensor(name))

        first, second = _pair(path, file.keys())
        yield stored(first), stored(second)


@contextmanager
def _flax(path: Path) -> Generator[tuple[_Stored, _Stored]]:
    with path.open("rb") as file:
        # containers are walked through: a length that an unread one declares, or how deep it goes, costs nothing
        items = msgpack.Unpacker(file, max_buffer_size=2**32 - 1, max_array_len=0, max_map_len=0)
        names: list[str] = []
        arrays: dict[str, _Stored] = {}
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
            yield arrays[f"{table}x_proto"], arrays[f"{table}y_proto"]
            return
    raise FrepoError(
        f"{path} holds {_listed(names)}: no x_proto and y_proto in ema_average, in params or by themselves; save its "
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


def _collect(items: msgpack.Unpacker, file: IO[bytes], name: str, first: int, arrays: dict[str, _Stored]) -> None:
    """Go past a value, and remember it where it is an array of distilled data."""
    if name.rpartition("/")[2] not in ("x_proto", "y_proto") or first not in (*MSGPACK_TABLES, *MSGPACK_EXTENSIONS):
        items.skip()
    elif first in MSGPACK_TABLES:
        arrays[name] = _unchunked(items, file, name)
    else:
        arrays[name] = _packed(name, items.unpack())


def _packed(name: str, packed: Any) -> _Stored:
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

    return _Stored(name, dtype, shape, load)


def _unchunked(items: msgpack.Unpacker, file: IO[bytes], name: str) -> _Stored:
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
    return _Stored(name, kinds.pop(), shape, lambda: np.concatenate([p.load().ravel() for p in pieces]).reshape(shape))

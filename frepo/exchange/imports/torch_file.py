"""What torch.save wrote: tensors in plain containers, read without PyTorch and without running what the file names.

A file is a zip archive with a pickle and the numbers of every tensor as a member, or, as PyTorch wrote them before 1.6,
pickles one behind the other with the numbers at the end.
"""

import io
import math
import zipfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from frepo.data.pickles.arrays import NAMES
from frepo.data.pickles.header import DTYPES, Stored, numbers
from frepo.data.pickles.plain import Maker, PlainPickle
from frepo.errors import FrepoError
from frepo.exchange.imports.stored import listed

LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""How files of PyTorch before 1.6 begin: a pickle of one large number."""
LEGACY_VERSION = 1001
MOST_PICKLED = 2**26
"""Bytes of a pickle; it holds no numbers of tensors."""
SIZES = {**{name: dtype.itemsize for name, dtype in DTYPES.items()}, "bool": 1}
STORAGES = dict(
    zip(
        ("Float", "Double", "Half", "BFloat16", "Byte", "Char", "Short", "Int", "Long", "Bool"),
        ("float32", "float64", "float16", "bfloat16", "uint8", "int8", "int16", "int32", "int64", "bool"),
        strict=True,
    )
)
"""Types of numbers, by the names of their storages in PyTorch."""


@dataclass(frozen=True)
class Kind:
    """A type of numbers that a pickle names; None for bytes."""

    dtype: str | None


@dataclass(frozen=True)
class Storage:
    """The numbers of one or several tensors, `size` bytes, as they lie in the file."""

    key: str
    kind: Kind
    size: int


Read = Callable[[Storage], bytes]
"""Returns the bytes of a storage."""


@contextmanager
def open_saved(path: Path) -> Generator[Any]:
    """Yield what was saved; tensors and arrays are `Stored` or `NumpyArray`, to be loaded while the file is open.

    Raises:
        FrepoError: it names something else than tensors, NumPy arrays and plain values.
        Exception: of any kind, for bytes that are no such file.
    """
    with path.open("rb") as file:
        if file.read(len(LEGACY)) == LEGACY:
            yield _legacy(path, file)
            return
        with zipfile.ZipFile(file) as archive:
            yield _zipped(path, archive)


def is_saved_by_torch(path: Path, start: bytes) -> bool:
    """Return whether PyTorch wrote a file that begins with `start`."""
    if not start.startswith(b"PK"):
        return start.startswith(LEGACY)
    try:
        with zipfile.ZipFile(path) as archive:
            return bool(_pickles(archive))
    except Exception:  # whoever reads it next says what is wrong
        return False


def _pickles(archive: zipfile.ZipFile) -> list[str]:
    return [name for name in archive.namelist() if f"/{name}".endswith("/data.pkl")]


def _zipped(path: Path, archive: zipfile.ZipFile) -> Any:
    (pickled,) = _pickles(archive)
    folder = pickled.removesuffix("data.pkl")
    names = set(archive.namelist())
    if f"{folder}constants.pkl" in names:
        raise FrepoError(f"{path} is a TorchScript program, which is not read here; save images and labels alone")
    order = ">" if _member(path, archive, f"{folder}byteorder", 16) == b"big" else "<"

    def read(storage: Storage) -> bytes:
        data = _member(path, archive, f"{folder}data/{storage.key}", storage.size)
        if len(data) != storage.size:
            raise ValueError(f"storage {storage.key} has not the size that the pickle says")
        return data

    return _pickle(path, read, order).load(io.BytesIO(_member(path, archive, pickled, MOST_PICKLED)))


def _member(path: Path, archive: zipfile.ZipFile, name: str, most: int) -> bytes:
    """Return a member of not more than `most` bytes; nothing for a byte order that is not there."""
    if name.endswith("byteorder") and name not in archive.namelist():
        return b""
    member = archive.getinfo(name)
    if member.compress_type != zipfile.ZIP_STORED or member.compress_size != member.file_size:
        raise ValueError(f"{name[-60:]} is compressed, as torch.save does not write it")
    if member.file_size > min(most, path.stat().st_size):
        raise ValueError(f"{name[-60:]} is too large")
    return archive.read(member)


def _legacy(path: Path, file: IO[bytes]) -> Any:
    file.seek(0)
    head = io.BytesIO(file.read(min(MOST_PICKLED, path.stat().st_size)))
    plain = PlainPickle(lambda name: _refuse(path, name), lambda _: None)
    _, version, system = plain.load(head), plain.load(head), plain.load(head)
    if version != LEGACY_VERSION or system["little_endian"] is not True:
        raise ValueError("it is of a version of PyTorch, or a machine, that is not known")
    places: dict[str, int] = {}

    def read(storage: Storage) -> bytes:
        file.seek(places[storage.key])
        count = storage.size // SIZES[storage.kind.dtype or "uint8"]
        if storage.size > path.stat().st_size or int.from_bytes(file.read(8), "little") != count:
            raise ValueError(f"storage {storage.key} has not the size that the pickle says")
        data = file.read(storage.size)
        if len(data) != storage.size:
            raise EOFError("it ends too early")
        return data

    storages: dict[str, Storage] = {}
    saved = _pickle(path, read, "<", storages).load(head)
    keys, place = plain.load(head), head.tell()
    for key in keys:
        places[key] = place
        place += 8 + storages[key].size
    return saved


def _refuse(path: Path, name: str) -> Any:
    raise FrepoError(
        f"{path} holds {listed([name])}, which is not read here, as it may run code: tensors, NumPy arrays, "
        "dictionaries, lists and plain values are; save images and labels alone:\n"
        "  torch.save({'images': images, 'labels': labels}, 'distilled.pt')"
    )


def _pickle(path: Path, read: Read, order: str, storages: dict[str, Storage] | None = None) -> PlainPickle:
    """Return a reader of the pickle in a file; it adds to `storages` what it meets."""

    def tensor(storage: Any, offset: Any, shape: Any, steps: Any, *rest: Any) -> Stored:
        kind = rest[2] if len(rest) > 2 and isinstance(rest[2], Kind) else storage.kind
        return _strided(read, order, storage, kind, offset, numbers(shape), numbers(steps))

    def persistent(identifier: Any) -> Storage:
        storage = _storage(identifier)
        if storages is not None:
            storages[storage.key] = storage
        return storage

    names: dict[str, Any] = {
        **{f"torch._utils _rebuild_tensor{version}": Maker(tensor) for version in ("", "_v2", "_v3")},
        "torch._utils _rebuild_parameter": Maker(lambda data, *_: data),
        "torch Size": Maker(numbers),
        "collections OrderedDict": Maker(lambda entries=(): _ordered(entries)),
        **{f"torch {name}Storage": Kind(dtype) for name, dtype in STORAGES.items()},
        **{f"torch {dtype}": Kind(dtype) for dtype in SIZES},
        **{f"torch.storage {name}": Kind(None) for name in ("UntypedStorage", "_UntypedStorage")},
        **NAMES,
    }
    return PlainPickle(lambda name: names[name] if name in names else _refuse(path, name), persistent)


def _ordered(entries: Any) -> dict[Any, Any]:
    """Return a dictionary; its entries follow where PyTorch wrote it."""
    if entries:
        raise TypeError("it has a dictionary that PyTorch does not write")
    return {}


def _storage(identifier: Any) -> Storage:
    if type(identifier) is not tuple or len(identifier) not in (5, 6):
        raise ValueError("it has a storage without an identifier")
    word, kind, key, _, count = identifier[:5]
    if word != "storage" or not isinstance(kind, Kind) or not isinstance(key, str) or type(count) is not int:
        raise ValueError("it has a storage without an identifier")
    return Storage(key, kind, numbers([count])[0] * SIZES[kind.dtype or "uint8"])


def _strided(
    read: Read, order: str, storage: Any, kind: Kind, offset: Any, shape: tuple[int, ...], steps: tuple[int, ...]
) -> Stored:
    """Return a tensor: every `steps` number of a storage from `offset` on."""
    if not isinstance(storage, Storage) or kind.dtype is None or len(shape) != len(steps):
        raise TypeError("it has a tensor without a storage, a type or a shape")
    (offset,) = numbers([offset])
    size = SIZES[kind.dtype]
    last = offset + sum((length - 1) * step for length, step in zip(shape, steps, strict=True))
    if 0 not in shape and (last >= storage.size // size or math.prod(shape) > storage.size // size):
        raise ValueError("it has a tensor that goes beyond its numbers, or repeats them; save tensor.contiguous()")

    def load() -> np.ndarray:
        dtype = DTYPES[kind.dtype or ""].newbyteorder(order)  # pyright: ignore[reportArgumentType] (one of two letters)
        flat = np.frombuffer(read(storage), dtype, storage.size // size)[offset:]
        view = np.lib.stride_tricks.as_strided(flat, shape, [step * size for step in steps], writeable=False)
        return view.astype(DTYPES[kind.dtype or ""], order="C")

    return Stored("", kind.dtype, shape, load)

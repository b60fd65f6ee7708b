"""Arrays of .npz files; nothing in them is evaluated or unpickled."""

import math
import re
import zipfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from frepo.data.pickles.header import DTYPES, NPY_DTYPES, Stored
from frepo.exchange.imports.stored import Found, pair_of

PIECE = 2**20
"""Bytes that are unpacked at once."""
NPY_HEADER = re.compile(rb"\{'descr': (.+?), 'fortran_order': (True|False), 'shape': \(([0-9, ]*)\),? ?\} *\n")


@contextmanager
def open_npz(path: Path) -> Generator[Found]:
    """Yield the headers of images and labels, which are loaded while the file is open.

    Raises:
        Exception: of any kind, for bytes that are no such file.
    """
    with zipfile.ZipFile(path) as archive:
        members = [member for member in archive.namelist() if member.endswith(".npy")]
        first, second = pair_of(path, (member.removesuffix(".npy") for member in members))
        yield Found(_npy(archive, first), _npy(archive, second))


def _npy(archive: zipfile.ZipFile, name: str) -> Stored:
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

    return Stored(name, dtype, shape, load)

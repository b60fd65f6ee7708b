"""Results that are arrays, as .npz files."""

import io
import zipfile
from pathlib import Path

import numpy as np

from frepo.errors import FrepoError


def npz_bytes(**arrays: np.ndarray) -> bytes:
    """Return the content of an .npz file."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # pyright: ignore[reportArgumentType] (no array is called allow_pickle)
    return buffer.getvalue()


def read_npz(path: Path, names: tuple[str, ...], remedy: str) -> tuple[np.ndarray, ...]:
    """Return arrays of an .npz file by name; nothing is unpickled, and they are no larger than the file.

    Raises:
        FrepoError: the file is missing or damaged, or not as `npz_bytes` makes it; the message ends in `remedy`.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return tuple(_stored(archive, f"{name}.npy") for name in names)
    except Exception as error:  # NumPy and zipfile raise many kinds for bytes that are not theirs
        raise FrepoError(f"{path} cannot be read ({error}); {remedy}") from None


def _stored(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    """Return an array that is a member as it is: what is compressed may be a thousand times as large as its file."""
    member = archive.getinfo(name)
    if member.compress_type != zipfile.ZIP_STORED or member.file_size != member.compress_size:
        raise ValueError(f"{name} is compressed")
    return np.load(io.BytesIO(archive.read(member)), allow_pickle=False)

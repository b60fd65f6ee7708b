"""Results that are arrays, as .npz files."""

import io
from pathlib import Path

import numpy as np

from frepo.errors import FrepoError


def npz_bytes(**arrays: np.ndarray) -> bytes:
    """Return the content of an .npz file."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # pyright: ignore[reportArgumentType] (no array is called allow_pickle)
    return buffer.getvalue()


def read_npz(path: Path, names: tuple[str, ...], remedy: str) -> tuple[np.ndarray, ...]:
    """Return arrays of an .npz file by name; nothing is unpickled.

    Raises:
        FrepoError: the file is missing or damaged; the message ends in `remedy`.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return tuple(arrays[name] for name in names)
    except Exception as error:  # NumPy and zipfile raise many kinds for bytes that are not theirs
        raise FrepoError(f"{path} cannot be read ({error}); {remedy}") from None

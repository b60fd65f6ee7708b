"""Imported data as it waits for the stages that use it, found by its digest."""

import hashlib
import io
from pathlib import Path

import numpy as np

from frepo.errors import FrepoError
from frepo.files import write_atomically


def keep(images: np.ndarray, labels: np.ndarray, cache_dir: Path) -> str:
    """Store images float32 [n, h, w, c] and labels float32 [n, C], and return the digest by which they are found again.

    Raises:
        OSError: the directory cannot be written.
    """
    digest = _digest(images, labels)
    path = _path(digest, cache_dir)
    path.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    np.savez(buffer, images=images, labels=labels)
    write_atomically(path, buffer.getvalue())
    return digest


def kept(digest: str, cache_dir: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return the images and labels that were stored.

    Raises:
        FrepoError: it is not there, or damaged.
    """
    path = _path(digest, cache_dir)
    try:
        with np.load(path, allow_pickle=False) as arrays:
            images, labels = arrays["images"], arrays["labels"]
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise _missing(path, str(error)) from None
    if _digest(images, labels) != digest:
        raise _missing(path, "it is not what was imported")
    return images, labels


def _path(digest: str, cache_dir: Path) -> Path:
    return cache_dir / "imported" / f"{digest}.npz"


def _digest(*arrays: np.ndarray) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _missing(path: Path, reason: str) -> FrepoError:
    return FrepoError(f"{path} cannot be read ({reason}); import the data again: frepo import CHECKPOINT --spec SPEC")

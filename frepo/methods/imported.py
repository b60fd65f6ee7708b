"""Imported data, stored under its digest until a stage uses it."""

import hashlib
from pathlib import Path

import numpy as np

from frepo.errors import FrepoError
from frepo.methods.base import DistilledData, Job, Result
from frepo.rundir.arrays import npz_bytes, read_npz
from frepo.rundir.files import make_directories, write_atomically
from frepo.spec import Imported

REMEDY = "import the data again: frepo import CHECKPOINT --spec SPEC"


def prepare(job: Job) -> Result:
    """Return the imported data.

    Raises:
        FrepoError: the data is missing or damaged.
    """
    settings = job.work.distill
    assert isinstance(settings, Imported)
    return Result(DistilledData(*kept(settings.sha256, job.options.cache_dir)))


def keep(images: np.ndarray, labels: np.ndarray, cache_dir: Path) -> str:
    """Store images float32 [n, h, w, c] and labels float32 [n, C], and return the digest that identifies them.

    Raises:
        OSError: the directory cannot be written.
    """
    digest = _digest(images, labels)
    path = _path(digest, cache_dir)
    make_directories(path.parent)
    write_atomically(path, npz_bytes(images=images, labels=labels))
    return digest


def kept(digest: str, cache_dir: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return the stored images and labels.

    Raises:
        FrepoError: they are missing or damaged.
    """
    path = _path(digest, cache_dir)
    images, labels = read_npz(path, ("images", "labels"), REMEDY)
    if _digest(images, labels) != digest:
        raise FrepoError(f"{path} cannot be read (it differs from the imported data); {REMEDY}")
    return images, labels


def _path(digest: str, cache_dir: Path) -> Path:
    return cache_dir / "imported" / f"{digest}.npz"


def _digest(*arrays: np.ndarray) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()

"""Arrays on disk, found by fingerprint, memory-mapped when read."""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from frepo.files import directory_written_atomically, sha256_of_file
from frepo.progress import warn

Arrays = Mapping[str, np.ndarray]


def cached(
    directory: Path, compute: Callable[[], tuple[Arrays, dict[str, Any]]]
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return named arrays and JSON facts from `directory`, computing and storing them where it is not there.

    A damaged entry is computed again, with a warning. Arrays come back memory-mapped, read-only.
    """
    try:
        return _read(directory)
    except FileNotFoundError:
        pass
    except (ValueError, KeyError) as error:
        warn(f"the cache entry {directory} is damaged ({error}); computing it again")
        shutil.rmtree(directory)
    arrays, facts = compute()
    with directory_written_atomically(directory) as temporary:
        _write(temporary, arrays, facts)
    del arrays
    return _read(directory)


def _write(directory: Path, arrays: Arrays, facts: dict[str, Any]) -> None:
    digests = {}
    for name, array in arrays.items():
        path = directory / f"{name}.npy"
        np.save(path, array, allow_pickle=False)
        digests[name] = sha256_of_file(path)
    (directory / "entry.json").write_text(json.dumps({"sha256": digests, "facts": facts}))


def _read(directory: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    entry = json.loads((directory / "entry.json").read_text())
    arrays = {}
    for name, digest in entry["sha256"].items():
        path = directory / f"{name}.npy"
        if not path.exists() or sha256_of_file(path) != digest:
            raise ValueError(f"{path.name} is not what was written")
        arrays[name] = np.load(path, mmap_mode="r", allow_pickle=False)
    return arrays, entry["facts"]

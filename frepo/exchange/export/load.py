"""Reading back what was exported."""

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from safetensors import safe_open

from frepo.errors import FrepoError
from frepo.exchange.export.exported import Exported
from frepo.exchange.export.stored import TEXTS, from_stored

NPZ = "data.npz"
SAFETENSORS = "data.safetensors"


def load(path: Path | str) -> Exported:
    """Return the distilled data of an export as npz, safetensors or torch: its directory or its data file.

    All comes back bit for bit. Nothing is unpickled.

    Raises:
        FrepoError: there is no such file, or it is damaged or none of these.
    """
    path = _file(Path(path))
    read = _reader(path)
    try:
        arrays, texts = read(path)
    except MemoryError:
        raise FrepoError(f"{path} cannot be read: it asks for more memory than there is") from None
    except Exception as error:  # the readers raise many kinds for bytes that are not theirs
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise FrepoError(f"{path} cannot be read ({reason}); export the run again") from None
    return from_stored(path, arrays, texts)


def _file(path: Path) -> Path:
    if path.is_dir():
        found = [path / name for name in (NPZ, SAFETENSORS) if (path / name).is_file()]
        if not found:
            raise FrepoError(f"{path} has no {NPZ} and no {SAFETENSORS}: export a run as npz, safetensors or torch")
        return found[0]
    if not path.is_file():
        raise FrepoError(f"there is no file {path}")
    return path


def _reader(path: Path) -> Callable[[Path], tuple[dict[str, np.ndarray], dict[str, str]]]:
    try:
        with path.open("rb") as file:
            return _npz if file.read(4) == b"PK\x03\x04" else _safetensors
    except OSError as error:
        raise FrepoError(f"{path} cannot be read: {error.strerror}") from None


def _npz(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    if not zipfile.is_zipfile(path):
        raise ValueError("it ends too early")
    with np.load(path, allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    texts = {name: arrays.pop(name) for name in TEXTS if name in arrays}
    return arrays, {name: text.item() for name, text in texts.items() if text.dtype.kind == "U" and text.ndim == 0}


def _safetensors(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    with safe_open(path, framework="numpy") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118 (no dict)

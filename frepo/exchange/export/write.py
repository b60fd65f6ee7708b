"""Writing an export: a new directory with the data in one format and a README that says how to use it."""

import contextlib
import json
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import numpy as np

from frepo.errors import FrepoError
from frepo.exchange.export import DataFormat, render
from frepo.exchange.export.exported import (
    NPZ,
    PROVENANCE,
    RECIPE,
    SAFETENSORS,
    Exported,
    preprocess_arrays,
    to_arrays,
    to_texts,
)
from frepo.rundir.files import directory_written_atomically

README, PREPROCESS = "README.md", "preprocess.npz"


def write(exported: Exported, kind: DataFormat, out: Path) -> None:
    """Write distilled data to the new directory `out`, all of it or nothing.

    Raises:
        FrepoError: `out` is there and not empty, or cannot be written.
    """
    with new_directory(out) as directory:
        _writer(kind)(exported, directory)
        (directory / RECIPE).write_text(json.dumps(exported.recipe, indent=1) + "\n")
        (directory / PROVENANCE).write_text(json.dumps(exported.provenance, indent=1) + "\n")
        (directory / README).write_text(render.readme(exported, kind), encoding="utf-8")


@contextlib.contextmanager
def new_directory(out: Path) -> Generator[Path]:
    """Yield a directory that becomes `out` when the block ends without an error; the block has to write its README.

    Raises:
        FrepoError: `out` is there and not empty, or cannot be written.
    """
    refuse_existing(out)
    out = out.resolve()
    try:
        with directory_written_atomically(out) as directory:
            yield directory
    except OSError as error:
        raise FrepoError(f"--out {out} cannot be written: {error.strerror or error}; name another directory") from None
    if not (out / README).is_file():  # a mount point, or somebody else's directory meanwhile, does not give way
        raise FrepoError(f"--out {out} cannot be replaced; name a directory that is not there yet")


def refuse_existing(out: Path) -> None:
    """Hold `out` against what is there: nothing is ever overwritten.

    Raises:
        FrepoError: there is a file, or a directory that is not empty or cannot be read.
    """
    try:
        if not out.exists() or (out.is_dir() and not any(out.iterdir())):
            return
    except OSError as error:
        raise FrepoError(f"--out {out} cannot be used: {error.strerror}; name another directory") from None
    raise FrepoError(f"--out {out} is there already; name a new directory, or remove it")


def _writer(kind: DataFormat) -> Callable[[Exported, Path], None]:
    match kind:
        case "npz":
            return _write_npz
        case "safetensors":
            return _write_safetensors
        case "torch":
            return _write_torch
        case "png":
            return _write_png
        case "tfds":
            return _write_tfds
        case "hf":
            return _write_hf


def _write_npz(exported: Exported, directory: Path) -> None:
    texts = {name: np.array(text) for name, text in to_texts(exported).items()}
    _savez(directory / NPZ, {**to_arrays(exported), **texts})


def _write_safetensors(exported: Exported, directory: Path) -> None:
    from safetensors.numpy import save

    (directory / SAFETENSORS).write_bytes(
        save(to_arrays(exported), to_texts(exported))
    )  # save_file lets nobody else read


def _write_torch(exported: Exported, directory: Path) -> None:
    _write_safetensors(exported, directory)
    (directory / "train.py").write_text(render.torch_script(exported), encoding="utf-8")


def _write_png(exported: Exported, directory: Path) -> None:
    from frepo.exchange.export.records import write_png

    write_png(exported, directory, taken=(README, RECIPE, PROVENANCE, PREPROCESS))
    _write_preprocess(exported, directory)


def _write_tfds(exported: Exported, directory: Path) -> None:
    from frepo.exchange.export.records import write_tfds

    write_tfds(exported, directory)
    _write_preprocess(exported, directory)


def _write_hf(exported: Exported, directory: Path) -> None:
    from frepo.exchange.export.hub import write_hub

    write_hub(exported, directory)
    _write_preprocess(exported, directory)


def _write_preprocess(exported: Exported, directory: Path) -> None:
    _savez(directory / PREPROCESS, preprocess_arrays(exported.preprocess))


def _savez(path: Path, arrays: dict[str, Any]) -> None:
    np.savez(path, **arrays)

"""Dataset distillation by neural feature regression with pooling (FRePo), run from declarative experiment specs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from frepo.export.exported import Exported

__version__ = "0.1.0"


def load(path: Path | str) -> Exported:
    """Return what `frepo export` wrote as npz, safetensors or torch: its directory, or the data file itself.

    Raises:
        FrepoError: it cannot be read.
    """
    from frepo.export.load import load as load_export

    return load_export(path)

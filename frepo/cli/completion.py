"""What a shell offers for an unfinished argument; reads names of files only."""

import os
from glob import escape, glob
from pathlib import Path

import typer

from frepo.runtime import DEFAULT_RUNS_DIR

DEPTHS = ("*.toml", "*/*.toml", "*/*/*.toml")


def spec_files(incomplete: str) -> list[str]:
    """Return the TOML files that `incomplete` can become, in folders below it too.

    Where there are none the shell offers all files, as it does by itself.
    """
    folder = escape(os.path.dirname(incomplete))  # noqa: PTH120 (text that is not yet a path)
    found = [path for depth in DEPTHS for path in glob(os.path.join(folder, depth))]  # noqa: PTH118, PTH207
    return sorted(path for path in found if path.startswith(incomplete))


def run_names(context: typer.Context, incomplete: str) -> list[str]:
    """Return the names of the runs in the run directory that begin with `incomplete`."""
    runs_dir = Path(context.params.get("runs_dir") or DEFAULT_RUNS_DIR)
    names = {path.parent.name for path in runs_dir.glob("*/run-*.json")}
    return sorted(name for name in names if name.startswith(incomplete))

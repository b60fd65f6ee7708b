"""Where a result was computed: code, packages, machine and command line."""

import hashlib
import importlib.metadata
import os
import platform
import resource
import shlex
import socket
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import frepo
from frepo.runtime import DEFAULT_REPORTS, RuntimeOptions

RECORDED_PACKAGES = (
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "numpy",
    "pydantic",
    "duckdb",
    "tensorflow-datasets",
    "scikit-learn",
)


def now() -> datetime:
    """Return the current time in UTC."""
    return datetime.now(UTC)


def provenance(spec_path: Path, options: RuntimeOptions) -> dict[str, Any]:
    """Return what identifies the code, the machine and the command, as JSON.

    `code` is frepo's own, `git` the repository that the spec lies in, apart from what frepo writes there.
    """
    home = spec_path.resolve().parent
    return {
        "frepo": frepo.__version__,
        "code": code(),
        "packages": {name: _version(name) for name in RECORDED_PACKAGES},
        "python": platform.python_version(),
        "git": git_state(_root(home) or home, _written(options)),
        "host": socket.gethostname(),
        "platform": platform.platform(),
        "cpu_count": os.cpu_count(),
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "slurm_job": os.environ.get("SLURM_JOB_ID"),
    }


@cache
def code() -> dict[str, Any]:
    """Return `sha256` of frepo's source files, and `commit` and `dirty` where git tracks them, else None."""
    package = Path(frepo.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        digest.update(
            f"{path.relative_to(package).as_posix()} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode()
        )
    tracked = _git(package, "ls-files", "--error-unmatch", "__init__.py") is not None
    state = git_state(package) if tracked else None
    return {"sha256": digest.hexdigest(), **(state or {"commit": None, "dirty": None})}


def _written(options: RuntimeOptions) -> list[Path]:
    """Return what frepo writes in the directory it is called in, unless told otherwise."""
    database = options.database
    beside = [database.with_name(database.name + end) for end in ("", ".wal", ".tmp")] if database else []
    return [options.runs_dir, DEFAULT_REPORTS, *beside]


def git_state(directory: Path, ignored: Sequence[Path] = ()) -> dict[str, Any] | None:
    """Return the commit of the git repository that holds `directory`, and whether what lies there differs from it.

    Nothing at or below `ignored` counts; `dirty` is None where git does not say it in time. None outside of a
    repository, and before its first commit.
    """
    commit, root = _git(directory, "rev-parse", "HEAD"), _root(directory)
    if commit is None or root is None:
        return None
    inside = [path for given in ignored if (path := given.resolve()).is_relative_to(root) and path != root]
    excluded = [f":(top,exclude,literal){path.relative_to(root).as_posix()}" for path in inside]
    status = _git(directory, "status", "--porcelain", "--", ".", *excluded)
    return {"commit": commit.strip(), "dirty": None if status is None else bool(status.strip())}


def _root(directory: Path) -> Path | None:
    top = _git(directory, "rev-parse", "--show-toplevel")
    return None if top is None else Path(top.removesuffix("\n"))


def peak_host_bytes() -> int:
    """Return the largest resident size of this process so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _git(directory: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(directory), *arguments], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None

"""Where a result was computed: code, packages, machine and command line."""

import importlib.metadata
import os
import platform
import resource
import shlex
import socket
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import frepo

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


def provenance(spec_path: Path) -> dict[str, Any]:
    """Return what identifies the code, the machine and the command, as JSON."""
    return {
        "frepo": frepo.__version__,
        "packages": {name: _version(name) for name in RECORDED_PACKAGES},
        "python": platform.python_version(),
        "git": git_state(spec_path.resolve().parent),
        "host": socket.gethostname(),
        "platform": platform.platform(),
        "cpu_count": os.cpu_count(),
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "slurm_job": os.environ.get("SLURM_JOB_ID"),
    }


def git_state(directory: Path) -> dict[str, Any] | None:
    """Return commit and dirtiness of the git repository that holds `directory`, or None outside of one."""
    commit = _git(directory, "rev-parse", "HEAD")
    if commit is None:
        return None
    return {"commit": commit.strip(), "dirty": bool((_git(directory, "status", "--porcelain") or "").strip())}


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

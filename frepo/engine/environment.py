"""Settings outside the spec that change numbers: pinned if JAX allows it, otherwise recorded with every saved state.

None of them enters a fingerprint: a finished result records where it was computed, and stays the same result.
"""

import importlib.metadata
import os
import platform
from collections.abc import Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax

from frepo.engine.kernels import compiler_options
from frepo.errors import FrepoError
from frepo.progress import warn

PINNED: dict[str, Any] = {
    "jax_allow_f16_reductions": True,
    "jax_default_matmul_precision": None,
    "jax_default_prng_impl": "threefry2x32",
    "jax_disable_jit": False,
    "jax_enable_custom_prng": False,
    "jax_enable_pgle": False,
    "jax_enable_x64": False,
    "jax_exec_time_optimization_effort": 0.0,
    "jax_high_dynamic_range_gumbel": False,
    "jax_numpy_dtype_promotion": "standard",
    "jax_numpy_rank_promotion": "allow",
    "jax_optimization_level": "UNKNOWN",
    "jax_random_seed_offset": 0,
    "jax_softmax_custom_jvp": False,
    "jax_threefry_gpu_kernel_lowering": False,
    "jax_threefry_partitionable": True,
    "jax_use_direct_linearize": True,
}
"""Settings of JAX that change numbers, each with an environment variable of the same name in capitals."""

VARIABLES = ("XLA_FLAGS", "LIBTPU_INIT_ARGS", "NVIDIA_TF32_OVERRIDE", "JAX_DISABLE_MOST_OPTIMIZATIONS")
"""Environment variables that change numbers and are not pinned: libraries read them at start, and the last one
speeds up compilation and changes rounding.
"""

HARMLESS_FLAGS = ("--xla_dump_", "--xla_force_host_platform_device_count", "--xla_gpu_cuda_data_dir")
"""Prefixes of XLA flags that change no number, or that follow from the number of devices."""

Numerics = Mapping[str, Any]


@contextmanager
def pinned() -> Generator[None]:
    """Pin JAX's settings to frepo's while the block runs, whatever environment and caller have set.

    Raises:
        FrepoError: a context manager of JAX around the caller holds a setting.
    """

    def others() -> dict[str, Any]:
        now = jax.config.values
        return {name: now[name] for name, value in PINNED.items() if now.get(name, value) != value}

    with ThreadPoolExecutor(1) as pool:
        before = pool.submit(others).result()  # context managers of JAX hold for their own thread only
    try:
        for name in before:
            jax.config.update(name, PINNED[name])
        for name, value in others().items():
            raise FrepoError(f"{name} is held at {value!r} by one of JAX's context managers: run frepo outside of it")
        yield
    finally:
        for name, value in before.items():
            jax.config.update(name, value)


def numerics() -> dict[str, Any]:
    """Return the settings that change numbers and are not pinned, as JSON; None for a variable that is not set."""
    devices = jax.devices()
    variables = {name: os.environ.get(name) or None for name in VARIABLES}
    return {
        **variables,
        "XLA_FLAGS": _flags(variables["XLA_FLAGS"] or ""),
        "jax": jax.__version__,
        "jaxlib": importlib.metadata.version("jaxlib"),
        "devices": f"{len(devices)} x {_kind(devices[0])}",
        **compiler_options(),
    }


def must_go_on_from(saved: Numerics, path: Path) -> None:
    """Refuse a state that was saved under other settings; warn if other devices or versions round differently.

    Raises:
        FrepoError: settings differ; the message names them and the remedy.
    """
    today = numerics()
    differ = [name for name, value in saved.items() if value != today.get(name)]
    texts = {name: f"{name} was {saved[name] or 'not set'}, is {today.get(name) or 'not set'}" for name in differ}
    settings = [texts[name] for name in differ if name in VARIABLES]
    if settings:
        raise FrepoError(
            f"{path} was saved under other numerics: {'; '.join(settings)}. Going on would mix both in one result: set "
            "them as they were, or compute all again with --fresh"
        )
    if differ:
        warn(f"{path} was saved elsewhere: {'; '.join(texts.values())}; rounding differs from here on")


def _flags(text: str) -> str | None:
    """Return the flags that change numbers, sorted, the last of each name; XLA reads the file if given a path."""
    if text.strip() and not text.strip().startswith("-"):
        try:
            text = Path(text).read_text()
        except (OSError, ValueError):
            return text
    flags = {flag.partition("=")[0]: flag for flag in text.split() if not flag.startswith(HARMLESS_FLAGS)}
    return " ".join(flags[name] for name in sorted(flags)) or None


def _kind(device: Any) -> str:
    """Return the kind of a device; JAX gives all CPUs one name, though they round differently."""
    return _processor() or device.device_kind if device.platform == "cpu" else device.device_kind


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")

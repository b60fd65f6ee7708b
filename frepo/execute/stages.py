"""The code of a stage, called with JAX as it has to be."""

from collections.abc import Generator
from contextlib import contextmanager

import jax

from frepo.data.context import Context, StageCode
from frepo.data.dataset import DatasetInfo
from frepo.data.load import load_info
from frepo.engine.cost import Cost
from frepo.engine.environment import numerics, pinned
from frepo.engine.journal import Journal
from frepo.engine.processes import others_answering
from frepo.errors import FrepoError
from frepo.plan import Stage
from frepo.plan.identity import fingerprint
from frepo.runtime import RuntimeOptions


def check(stage: Stage, options: RuntimeOptions) -> DatasetInfo:
    """Return the facts of the data of `stage`, after holding the stage against them.

    Raises:
        FrepoError: the data is not there or the stage does not fit it.
    """
    info = load_info(stage.dataset, options.tfds_dir, options.cache_dir)  # pyright: ignore[reportArgumentType] (frozen pydantic models are hashable)
    with pinned():
        _code(stage).check(stage, info)
    return info


def execute(stage: Stage, options: RuntimeOptions, journal: Journal) -> None:
    """Compute `stage` and write its results through `journal`.

    Raises:
        Interrupted: a signal came; the state is saved.
        FrepoError: a failure that the user can do something about.
    """
    with pinned(), _memory_must_suffice(), others_answering(), journal.saving_where_stopped():
        _code(stage).execute(Context(stage, options), journal)


def cost(stage: Stage, options: RuntimeOptions) -> Cost | None:
    """Return the cost of the steps of `stage` on this device; None where it has none.

    Real images stand in for distilled ones that do not exist yet.

    Raises:
        FrepoError: the data is not there or the stage does not fit it.
    """
    check(stage, options)
    with pinned(), _memory_must_suffice():
        return _code(stage).cost(Context(stage, options))


def _code(stage: Stage) -> StageCode:
    return stage.kind.load()


@contextmanager
def _memory_must_suffice() -> Generator[None]:
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        reason = " ".join(str(error).split())
        if "RESOURCE_EXHAUSTED" not in reason and "out of memory" not in reason.lower():
            raise
        raise FrepoError(
            f"the device's memory does not suffice ({reason[:200]}). A smaller --chunk, --residency host, a smaller "
            "batch_size or width needs less; frepo plan --cost says how much"
        ) from None


def prepare_jax(options: RuntimeOptions) -> str:
    """Turn on the cache of compiled programs and return the device in words.

    Raises:
        FrepoError: JAX finds no device that works.
    """
    try:
        devices = jax.devices()
    except RuntimeError as error:
        raise FrepoError(f"JAX finds no device: {error}") from None
    if not options.compile_cache:
        jax.config.update("jax_enable_compilation_cache", False)
    elif getattr(jax.config, "jax_compilation_cache_dir", None) is None:
        # JAX's own key of a program leaves out what libraries read when they start, and a processor's abilities.
        directory = options.cache_dir.resolve() / "compiled" / fingerprint(numerics())[:8]
        jax.config.update("jax_compilation_cache_dir", str(directory))
    return f"{len(devices)} x {devices[0].platform} ({devices[0].device_kind})"


def leave_devices() -> None:
    """Keep this process on the processor, for ever: the memory of GPUs is for the processes that compute."""
    jax.config.update("jax_platforms", "cpu")


def peak_device_bytes() -> int | None:
    """Return the most memory that the device has held, or None where the backend does not count."""
    return (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use")

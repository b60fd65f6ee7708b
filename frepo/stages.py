"""From a stage to the code that computes it."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import jax

from frepo import record
from frepo.apps.evaluate import evaluate
from frepo.apps.evaluate import prepare as prepare_evaluation
from frepo.cost import Cost, measure
from frepo.data.dataset import Dataset, DatasetInfo
from frepo.data.load import load_dataset, load_info
from frepo.distill.learning import prepare as prepare_learning
from frepo.distill.run import check as check_distill
from frepo.distill.run import distill, read_distilled, real_images
from frepo.errors import FrepoError
from frepo.journal import Journal
from frepo.models.build import build_model
from frepo.plan import DistillStage, EvaluateStage, Stage
from frepo.runtime import RuntimeOptions
from frepo.spec import Frepo


def check(stage: Stage, options: RuntimeOptions) -> DatasetInfo:
    """Return the facts of the data of `stage`, after holding the stage against them.

    Raises:
        FrepoError: the data is not there or the stage does not fit it.
    """
    info = load_info(stage.work.dataset, options.tfds_dir, options.cache_dir)
    match stage.work:
        case DistillStage() as work:
            check_distill(work, info)
        case EvaluateStage() as work:
            build_model(work.architecture, info.num_classes, info.image_shape)
    return info


def execute(stage: Stage, run_directory: Path, options: RuntimeOptions, journal: Journal) -> None:
    """Compute `stage` and write its results through `journal`.

    Raises:
        Interrupted: a signal came; the state is saved.
        FrepoError: a failure that the user can do something about.
    """
    dataset = _dataset(stage, options)
    with _memory_must_suffice():
        match stage.work:
            case DistillStage() as work:
                distill(work, dataset, journal, options.residency, options.chunk)
            case EvaluateStage() as work:
                data = read_distilled(run_directory / stage.needs[0].directory)
                journal.write_rows(record.EVALUATIONS, evaluate(work, data, dataset, journal))


def cost(stage: Stage, options: RuntimeOptions) -> Cost | None:
    """Return what the steps of `stage` cost on this device; None where there are none, because it only selects.

    Real images stand in for distilled ones that do not exist yet.

    Raises:
        FrepoError: the data is not there or the stage does not fit it.
    """
    check(stage, options)
    dataset = _dataset(stage, options)
    with _memory_must_suffice():
        match stage.work:
            case DistillStage(distill=Frepo() as settings) as work:
                start = real_images(work, dataset)
                learning = prepare_learning(settings, work, start, dataset, options.residency, options.chunk)
                return measure(learning.loop, learning.training.trainer.num_parameters)
            case DistillStage():
                return None
            case EvaluateStage() as work:
                source = stage.needs[0].work
                assert isinstance(source, DistillStage)
                trainer, loop = prepare_evaluation(work, real_images(source, dataset), dataset.info)
                return measure(loop, trainer.num_parameters)


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


def _dataset(stage: Stage, options: RuntimeOptions) -> Dataset:
    return load_dataset(stage.work.dataset, options.tfds_dir, options.cache_dir)  # pyright: ignore[reportArgumentType] (frozen pydantic models are hashable)


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
        jax.config.update("jax_compilation_cache_dir", str(options.cache_dir.resolve() / "compiled"))
    return f"{len(devices)} x {devices[0].platform} ({devices[0].device_kind})"


def peak_device_bytes() -> int | None:
    """Return the most memory that the device has held, or None where the backend does not count."""
    return (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use")

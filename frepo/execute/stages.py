"""From a stage to the code that computes it."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

import jax
import numpy as np

from frepo.applications.choice import with_best_rate, write_score
from frepo.applications.continual import continual
from frepo.applications.evaluate import evaluate, tune
from frepo.applications.fair_scores import fair_scores, read_accuracies
from frepo.applications.membership.stages import attack_networks, expose_networks, read_exposure
from frepo.data.dataset import Dataset, DatasetInfo
from frepo.data.load import load_dataset, load_info, load_outside, load_test_set
from frepo.engine.cost import Cost, measure
from frepo.engine.environment import numerics, pinned
from frepo.engine.journal import Journal
from frepo.errors import DivergedError, FrepoError
from frepo.methods.base import DistilledData
from frepo.methods.chosen import with_labels
from frepo.methods.features import train_features
from frepo.methods.stage import check as check_distill
from frepo.methods.stage import cost as cost_of_learning
from frepo.methods.stage import distill, read_distilled
from frepo.networks.build import build_model
from frepo.networks.prepare import prepare
from frepo.plan import (
    AttackStage,
    ContinualStage,
    DistillStage,
    EvaluateStage,
    ExposeStage,
    FairScoresStage,
    FeaturesStage,
    OfImages,
    Stage,
    TuneStage,
)
from frepo.plan.identity import fingerprint
from frepo.progress import warn
from frepo.rundir import record
from frepo.runtime import RuntimeOptions


def check(stage: Stage, options: RuntimeOptions) -> DatasetInfo:
    """Return the facts of the data of `stage`, after holding the stage against them.

    Raises:
        FrepoError: the data is not there or the stage does not fit it.
    """
    info = facts_of(stage, options)
    with pinned():
        match stage.work:
            case DistillStage() as work:
                check_distill(work, info)
            case FairScoresStage() | AttackStage():
                pass
            case work:
                build_model(work.architecture, info.num_classes, info.image_shape)
    return info


def facts_of(stage: Stage, options: RuntimeOptions) -> DatasetInfo:
    """Return the facts of the data of `stage`, or of what it needs where it reads none itself.

    Raises:
        FrepoError: the data is not there.
    """
    return load_info(stage.dataset, options.tfds_dir, options.cache_dir)  # pyright: ignore[reportArgumentType] (as below)


def execute(stage: Stage, run_directory: Path, options: RuntimeOptions, journal: Journal) -> None:
    """Compute `stage` and write its results through `journal`.

    Raises:
        Interrupted: a signal came; the state is saved.
        FrepoError: a failure that the user can do something about.
    """
    with pinned(), _memory_must_suffice(), journal.saving_where_stopped():
        match stage.work:
            case DistillStage() as work:
                distill(stage, run_directory, _dataset(work, options), journal, options)
            case FeaturesStage() as work:
                train_features(work, _dataset(work, options), options.residency, journal)
            case TuneStage() as work:
                _tune(work, stage, run_directory, options, journal)
            case EvaluateStage():
                _evaluate(stage, run_directory, options, journal)
            case FairScoresStage() as work:
                accuracies = read_accuracies([run_directory / need.directory for need in stage.needs])
                journal.write_rows(record.SCORES, fair_scores(work, accuracies))
            case ContinualStage() as work:
                memories = [read_distilled(run_directory / need.directory) for need in stage.needs]
                load = load_test_set if memories else load_dataset
                dataset = load(work.dataset, options.tfds_dir, options.cache_dir)  # pyright: ignore[reportArgumentType] (as below)
                rows = continual(work, memories, dataset, options, journal)
                journal.write_rows(record.CONTINUAL, rows)
            case ExposeStage() as work:
                outside = None
                if work.source == "shadow":
                    outside = load_outside(work.dataset, options.tfds_dir, options.cache_dir)
                data = _data(stage, run_directory)
                expose_networks(work, data, _dataset(work, options), outside, options, journal)
            case AttackStage() as work:
                found = [read_exposure(run_directory / need.directory) for need in stage.needs]
                rows = attack_networks(work, found[0], found[1] if len(found) > 1 else None)
                journal.write_rows(record.ATTACKS, rows)


def _tune(work: TuneStage, stage: Stage, run_directory: Path, options: RuntimeOptions, journal: Journal) -> None:
    try:
        data = _data(stage, run_directory)
        write_score(journal, tune(work, data, _dataset(work, options), options.residency, journal))
    except DivergedError as error:
        warn(f"{error}; this candidate counts as the worst")
        write_score(journal, 0.0)


def _evaluate(stage: Stage, run_directory: Path, options: RuntimeOptions, journal: Journal) -> None:
    work, data = with_best_rate(stage, run_directory), _data(stage, run_directory)
    results = evaluate(work, data, _dataset(work, options), options, journal)
    journal.write_rows(record.CONFUSIONS, results.confusions)
    journal.write_rows(record.EVALUATIONS, results.evaluations)


def _data(stage: Stage, run_directory: Path) -> DistilledData | None:
    """Return the data that an evaluation trains on, or None where that is all real images."""
    source = next((need for need in stage.needs if isinstance(need.work, DistillStage)), None)
    return read_distilled(run_directory / source.directory) if source else None


def cost(stage: Stage, options: RuntimeOptions) -> Cost | None:
    """Return what the steps of `stage` cost on this device; None where there are none, because it only selects.

    Real images stand in for distilled ones that do not exist yet.

    Raises:
        FrepoError: the data is not there or the stage does not fit it.
    """
    check(stage, options)
    with pinned(), _memory_must_suffice():
        match stage.work:
            case DistillStage() as work:
                return cost_of_learning(stage, Path(), _dataset(work, options), options)
            case FeaturesStage() | TuneStage() | EvaluateStage() | ContinualStage() | ExposeStage() as work:
                dataset = _dataset(work, options)
                sources = [need.work for need in stage.needs if isinstance(need.work, DistillStage)]
                data = _stand_in(sources, dataset) if sources else None
                trainer, loop = prepare(work, data, dataset, options.residency)
                return measure(loop, trainer.num_parameters)
            case FairScoresStage() | AttackStage():
                return None


def _stand_in(sources: Sequence[DistillStage], dataset: Dataset) -> DistilledData:
    """Return as many real images as `sources` make; which ones does not matter for what they cost."""
    info = dataset.info
    ipc = sum(source.distill.ipc for source in sources) // len(sources)
    chosen = np.resize(np.arange(info.num_train), info.num_classes * ipc)
    return with_labels(dataset, chosen)


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


def _dataset(work: OfImages, options: RuntimeOptions) -> Dataset:
    return load_dataset(work.dataset, options.tfds_dir, options.cache_dir)  # pyright: ignore[reportArgumentType] (frozen pydantic models are hashable)


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


def peak_device_bytes() -> int | None:
    """Return the most memory that the device has held, or None where the backend does not count."""
    return (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use")

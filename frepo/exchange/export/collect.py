"""From a run directory to all that its distilled data needs elsewhere."""

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from frepo.data.dataset import Dataset
from frepo.data.load import load_dataset
from frepo.data.preprocess import FittedPreprocess
from frepo.errors import FrepoError, Interrupted
from frepo.exchange.export.exported import Exported
from frepo.exchange.export.find import FoundStage
from frepo.exchange.export.recipe import accuracies, evaluation_of, resolved
from frepo.methods.stage import read_distilled

WHITENED_SINCE = 4
"""Version of the numerics since which training sets of fewer images than dimensions are whitened as they are today."""


def collect(found: FoundStage, tfds_dir: Path, cache_dir: Path) -> Exported:
    """Return the distilled data of a stage, its preprocessing, its recipe and where it comes from.

    Raises:
        FrepoError: the data cannot be read, or its data set is not there or not the one that it was made from.
        Interrupted: a signal came while the data set was prepared.
    """
    preprocess, class_names = _preprocess(found, tfds_dir, cache_dir)
    data = read_distilled(found.directory)
    images, labels = np.ascontiguousarray(data.images), np.ascontiguousarray(data.labels)
    evaluation = evaluation_of(found)
    rows = accuracies(found, evaluation)
    return Exported(
        images=images,
        pixels=preprocess.invert(images),
        soft_labels=labels,
        hard_labels=labels.argmax(axis=1).astype(np.int32),
        class_names=class_names,
        preprocess=preprocess,
        recipe=resolved(evaluation, rows, len(images)),
        provenance=provenance(found) | {"accuracies": rows},
    )


def provenance(found: FoundStage) -> dict[str, Any]:
    """Return where distilled data comes from, as JSON."""
    attempt = found.stage.attempts[-1].provenance if found.stage.attempts else found.run.provenance
    return {
        "run_id": found.run.run_id,
        "name": found.run.name,
        "fingerprint": found.run.fingerprint,
        "stage": found.directory.name,
        "stage_fingerprint": found.stage.fingerprint,
        "spec": found.run.spec | {key: found.stage.identity[key] for key in ("dataset", "distill", "seed")},
        "frepo": attempt.get("frepo"),
        "code": attempt.get("code"),
        "dataset": found.stage.dataset,
    }


def _preprocess(found: FoundStage, tfds_dir: Path, cache_dir: Path) -> tuple[FittedPreprocess, tuple[str, ...]]:
    """Return the preprocessing that the images were learned in, and the names of the classes."""
    run_id, name = found.run.run_id, found.dataset.name
    try:
        dataset = load_dataset(found.dataset, tfds_dir, cache_dir)  # pyright: ignore[reportArgumentType] (hashable)
    except Interrupted:
        raise
    except FrepoError as error:
        raise FrepoError(f"to export {run_id} takes its data set {name}, for the preprocessing: {error}") from None
    if found.stage.dataset and found.stage.dataset["fingerprint"] != dataset.info.fingerprint:
        raise FrepoError(
            f"the data set {name} found here is not the one that {run_id} was computed with: its images, labels or "
            "class names differ; name another with --data-dir"
        )
    _whitening_must_be_that_of_then(found, dataset)
    arrays = {
        field.name: np.array(value)  # out of the cache's files, which may go
        for field in fields(dataset.preprocess)
        if isinstance(value := getattr(dataset.preprocess, field.name), np.ndarray)
    }
    return replace(dataset.preprocess, **arrays), dataset.info.class_names


def _whitening_must_be_that_of_then(found: FoundStage, dataset: Dataset) -> None:
    whiten = dataset.preprocess.whiten
    if whiten is None or found.stage.identity["numerics_version"] >= WHITENED_SINCE:
        return
    if dataset.info.num_train < len(whiten) or found.dataset.preprocess.fitted_to is not None:
        raise FrepoError(
            f"{found.run.run_id} was computed by an earlier version of frepo, which whitened fewer images "
            f"({dataset.info.num_train:,}) than dimensions ({len(whiten):,}) in another way, so its pixels cannot be "
            "found any more; run its spec again"
        )

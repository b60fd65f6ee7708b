"""From the name of a run to an export of it: its data, their preprocessing, the recipe that goes with them."""

import statistics
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from frepo.data.dataset import Dataset
from frepo.data.load import load_dataset
from frepo.data.preprocess import FittedPreprocess
from frepo.errors import FrepoError, Interrupted
from frepo.exchange.export import Format
from frepo.exchange.export.evolution import write_evolution
from frepo.exchange.export.exported import Exported, symmetric, upper_triangle
from frepo.exchange.export.find import FoundStage, find_run, find_stage, provenance
from frepo.exchange.export.write import refuse_existing, write
from frepo.methods.stage import read_distilled
from frepo.networks.recipe import training_steps
from frepo.rundir import record
from frepo.rundir.record import Row, read_rows, read_stage
from frepo.runtime import RuntimeOptions
from frepo.spec import Evaluate, Recipe
from frepo.spec.recipe import complete, default_augmentation, hard_labels

WHITENED_SINCE = 4
"""Version of the numerics since which training sets of fewer images than dimensions are whitened as they are today."""
ALIKE = (
    *("architecture", "normalization", "pooling", "width", "depth", "predictor", "labels", "loss", "optimizer"),
    *("learning_rate", "augmentation", "augmentation_mode", "steps", "n_test"),
)
"""Columns in which all networks of an evaluation and predictor agree."""


def export_run(name: str, kind: Format, out: Path, options: RuntimeOptions, stage: str | None = None) -> Path:
    """Write the distilled data of the newest run of `name`, or of the run with that id, to the new directory `out`.

    `stage` is the label of the stage that made it; None for the one of the spec's `[distill]`. Returns `out`. The
    animations need no data set, all other formats take their preprocessing from it.

    Raises:
        FrepoError: there is no such run, it is not finished, its data set is not there, or `out` is not empty or cannot
            be written.
        Interrupted: a signal came while the data set was prepared.
    """
    refuse_existing(out)
    found = find_stage(*find_run(options.runs_dir, name), stage)
    if kind == "webp" or kind == "gif":
        write_evolution(found, kind, out)
    else:
        write(collect(found, options.tfds_dir, options.cache_dir), kind, out)
    return out


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
    if "whiten" in arrays:  # symmetric up to rounding, of which half is stored
        arrays["whiten"] = symmetric(upper_triangle(arrays["whiten"]))
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


class Evaluation(NamedTuple):
    """What an evaluation is, as JSON: specs were valid when they ran, and are not validated by later rules."""

    recipe: dict[str, Any]
    architecture: dict[str, Any]


def evaluation_of(found: FoundStage) -> Evaluation:
    """Return the first application of the run's spec that trains networks on such data, as it goes for this data.

    That is an `evaluate`, or the default one; for parts of the data set, the application that they were made for.
    """
    default = Evaluate(type="evaluate").model_dump(mode="json")
    types = ("continual", "membership") if found.is_part else ("evaluate",)
    application = next((entry for entry in found.run.spec["application"] if entry["type"] in types), default)
    recipe = complete({key: value for key, value in application.items() if key in Recipe.model_fields})
    if recipe["augmentation"] is None:
        recipe["augmentation"] = list(default_augmentation(found.dataset.name, recipe["augmentation_strategy"]))
    if not found.is_learned:  # real images have hard labels
        recipe |= hard_labels(recipe["loss"])
    return Evaluation(recipe, {**found.run.spec["architecture"], "normalization": application["normalization"]})


def accuracies(found: FoundStage, exported: Evaluation) -> list[Row]:
    """Return a row for each finished evaluation and predictor of this data, those by `exported` marked."""
    rows: list[Row] = []
    for name in found.run.stages:
        stage = read_stage(found.run_directory / name)
        if stage is None or stage.status != "done" or not (found.run_directory / name / record.EVALUATIONS).exists():
            continue
        if found.stage.fingerprint not in stage.identity["needs"]:
            continue
        is_exported = exported == (complete(stage.identity["recipe"]), stage.identity["architecture"])
        networks = read_rows(found.run_directory / name / record.EVALUATIONS)
        for predictor in dict.fromkeys(row["predictor"] for row in networks):
            same = [row for row in networks if row["predictor"] == predictor]
            rows.append(
                {
                    "stage": name,
                    "exported_recipe": is_exported,
                    **{column: same[0][column] for column in ALIKE},
                    "num_models": len(same),
                    **_moments("top1", same),
                    **_moments("top5", same),
                }
            )
    return rows


def resolved(evaluation: Evaluation, rows: list[Row], num_images: int) -> dict[str, Any]:
    """Return the recipe and architecture as JSON, nothing left to be worked out.

    A learning rate that was chosen among several is that of the evaluation in `rows`, where there is one.
    """
    recipe, candidates = evaluation.recipe, evaluation.recipe["learning_rates"]
    if candidates:
        chosen = [row["learning_rate"] for row in rows if row["exported_recipe"]]
        recipe = {**recipe, "learning_rate": (*chosen, candidates[0])[0], "learning_rates": []}
    table = Recipe.model_validate(recipe)
    steps = training_steps(table, num_images, None)
    warmup = table.warmup_of(steps)
    return {**recipe, "steps": steps, "epochs": None, "warmup_steps": warmup, "architecture": evaluation.architecture}


def _moments(name: str, rows: list[Row]) -> dict[str, Any]:
    values = [row[name] for row in rows]
    deviation = statistics.stdev(values) if len(values) > 1 else None
    return {name: values, f"{name}_mean": statistics.fmean(values), f"{name}_std": deviation}

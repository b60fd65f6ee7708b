"""Which recipe goes with distilled data, and what it is known to reach."""

import statistics
from typing import Any, NamedTuple

from frepo.exchange.export.find import FoundStage
from frepo.networks.recipe import training_steps
from frepo.rundir import record
from frepo.rundir.record import Row, read_rows, read_stage
from frepo.spec import Evaluate, Recipe
from frepo.spec.recipe import default_augmentation, hard_labels

ALIKE = (
    *("architecture", "normalization", "pooling", "width", "depth", "predictor", "labels", "loss", "optimizer"),
    *("learning_rate", "augmentation", "augmentation_mode", "steps", "n_test"),
)
"""Columns in which all networks of an evaluation and predictor agree."""


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
    recipe = _complete({key: value for key, value in application.items() if key in Recipe.model_fields})
    if recipe["augmentation"] is None:
        recipe["augmentation"] = list(default_augmentation(found.dataset.name))
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
        is_exported = exported == (_complete(stage.identity["recipe"]), stage.identity["architecture"])
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
    steps = training_steps(Recipe.model_validate(recipe), num_images, None)
    return {**recipe, "steps": steps, "architecture": evaluation.architecture}


def _complete(recipe: dict[str, Any]) -> dict[str, Any]:
    """Return a recipe with the fields that it may have been written without."""
    return {**Recipe().model_dump(mode="json"), **recipe}


def _moments(name: str, rows: list[Row]) -> dict[str, Any]:
    values = [row[name] for row in rows]
    deviation = statistics.stdev(values) if len(values) > 1 else None
    return {name: values, f"{name}_mean": statistics.fmean(values), f"{name}_std": deviation}

"""The choice among learning rates by the score of each candidate on held-out training images."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from frepo.engine.journal import Journal
from frepo.errors import FrepoError
from frepo.plan import EvaluateStage, Stage
from frepo.rundir import record
from frepo.rundir.layout import stage_directory


def write_score(journal: Journal, accuracy: float) -> None:
    """Write the accuracy in 0..1 of a candidate; 0 if its training diverged."""
    journal.write_result(record.TUNING, json.dumps({"validation_accuracy": accuracy}).encode())


def with_best_rate(stage: Stage, runs_dir: Path) -> EvaluateStage:
    """Return the work of an evaluation with the best candidate; the smaller rate wins a tie.

    Raises:
        FrepoError: a score is missing or damaged, or all candidates diverged.
    """
    work: Any = stage.work
    tunings = [need for need in stage.needs if need not in stage.data]
    if not tunings:
        return work
    scores = [_read(stage_directory(need, runs_dir) / record.TUNING) for need in tunings]
    if max(scores) == 0:
        raise FrepoError(f"{stage.label}: the training diverged with all learning_rates; smaller ones help")
    best = _best([_rate(need) for need in tunings], scores)
    recipe = work.recipe.model_copy(update={"learning_rate": best, "learning_rates": ()})
    return work.model_copy(update={"recipe": recipe})


def _best(rates: Sequence[float], scores: Sequence[float]) -> float:
    return min(zip(rates, scores, strict=True), key=lambda pair: (-pair[1], pair[0]))[0]


def _rate(stage: Stage) -> float:
    work: Any = stage.work
    return work.recipe.learning_rate


def _read(path: Path) -> float:
    try:
        return float(json.loads(path.read_text())["validation_accuracy"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FrepoError(f"{path} cannot be read ({error}); run the same command again to compute it again") from None

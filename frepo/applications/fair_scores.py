"""The part of an accuracy that is due to the images: the scores of DD-Ranking (Li et al. 2025), in 0..1."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from frepo.plan import FairScoresStage
from frepo.rundir import record
from frepo.rundir.record import Row


class Measured(NamedTuple):
    """A mean over networks and its variance: the sample variance divided by the number of networks."""

    mean: float
    variance: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Measured":
        """Return the mean of the accuracies of several networks; the variance of a single one is 0."""
        mean = math.fsum(values) / len(values)
        if len(values) == 1:
            return cls(mean, 0.0)
        return cls(mean, math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1) / len(values))

    def minus(self, other: "Measured") -> "Measured":
        """Return the difference of two independent means."""
        return Measured(self.mean - other.mean, self.variance + other.variance)


def read_accuracies(directories: Sequence[Path]) -> list[list[float]]:
    """Return the top-1 of the networks of finished evaluations, with the predictor `network`."""
    evaluations = [record.read_rows(directory / record.EVALUATIONS) for directory in directories]
    return [[row["top1"] for row in rows if row["predictor"] == "network"] for rows in evaluations]


def fair_scores(settings: FairScoresStage, accuracies: Sequence[Sequence[float]]) -> list[Row]:
    """Return rows of name, value and standard error from the top-1 of the networks of each of `plan.FairParts`.

    hard_label_recovery: acc(full, hard labels) - acc(distilled, hard labels).
    improvement_over_random: acc(distilled) - acc(random).
    label_robust_score: (e^a - e^-1) / (e - e^-1), a = w * improvement - (1 - w) * recovery.
    augmentation_robust_score: the same map of b = g * (improvement with augmentation) + (1 - g) * (without it).

    Standard errors are propagated to first order, with networks of different sources assumed independent.
    """
    full, hard, own, random, own_plain, random_plain = (Measured.of(values) for values in accuracies)
    recovery, improvement = full.minus(hard), own.minus(random)
    without = own_plain.minus(random_plain)
    w, g = settings.improvement_weight, settings.augmented_weight
    return [
        _row("hard_label_recovery", recovery.mean, recovery.variance),
        _row("improvement_over_random", improvement.mean, improvement.variance),
        _robust(
            "label_robust_score",
            w * improvement.mean - (1 - w) * recovery.mean,
            w**2 * improvement.variance + (1 - w) ** 2 * recovery.variance,
        ),
        _robust(
            "augmentation_robust_score",
            g * improvement.mean + (1 - g) * without.mean,
            g**2 * improvement.variance + (1 - g) ** 2 * without.variance,
        ),
    ]


def _robust(name: str, x: float, variance: float) -> Row:
    scale = math.e - math.exp(-1)
    slope = math.exp(x) / scale
    return _row(name, (math.exp(x) - math.exp(-1)) / scale, slope**2 * variance)


def _row(name: str, value: float, variance: float) -> Row:
    return {"name": name, "value": value, "standard_error": math.sqrt(variance)}

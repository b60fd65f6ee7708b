"""Two runs side by side: what differs in their specs, and what in their accuracies."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from frepo.plan.identity import ABSENT, Change, differences
from frepo.store.connect import student_quantile
from frepo.store.evaluated import identities_of, trained_as
from frepo.store.find import find_runs
from frepo.store.query import Rows, format_rows
from frepo.store.tables import accuracy_rows, network_text, percent, source_text

RowDict = dict[str, Any]

WHAT = ("source", "architecture", "normalization", "predictor", "labels")
"""Columns of `accuracy_table` that rows of two runs share to be compared at all."""

SETTINGS = (
    *("pooling", "width", "depth", "precision", "loss", "optimizer", "learning_rate"),
    *("augmentation", "augmentation_mode", "steps"),
)
"""Columns that are the same in the best match; where they are not, the changes of the specs say so."""

ROUNDING = 1e-12
"""By which two means of the same numbers may differ."""


@dataclass(frozen=True)
class Pair:
    """Accuracies of the same kind in two runs; one of them may lack it."""

    a: RowDict | None
    """Row of `accuracy_table`."""
    b: RowDict | None
    difference: float | None
    """Mean top-1 of b less that of a, as a share."""
    half_width: float | None
    """Of the 95% confidence interval of the difference; None where either has a single network."""
    test: Literal["paired", "Welch"] | None
    """Where it comes from: differences of networks that share seed and recipe, or means of independent networks."""

    @property
    def row(self) -> RowDict:
        """The row that says what is compared."""
        found = self.a or self.b
        assert found is not None
        return found

    @property
    def told_apart(self) -> bool | None:
        """Whether the interval leaves zero out; None where there is none."""
        if self.difference is None or self.half_width is None:
            return None
        return abs(self.difference) > self.half_width + ROUNDING


@dataclass(frozen=True)
class Comparison:
    """Two runs and in what they differ."""

    a: str
    """Run id."""
    b: str
    changes: tuple[Change, ...]
    """Of the resolved specs, their names left out."""
    accuracies: tuple[Pair, ...]

    def to_json(self) -> RowDict:
        """Return what `frepo compare --json` prints."""
        return {
            "a": self.a,
            "b": self.b,
            "changes": [_change_json(change) for change in self.changes],
            "accuracies": [_pair_json(pair) for pair in self.accuracies],
        }


def compare(database: Path, a: str, b: str) -> Comparison:
    """Compare two runs, each given by its name, which means the newest of that name, or by its run id.

    Raises:
        FrepoError: the database is not there, or does not hold one of them.
    """
    first, second = find_runs(database, (a, b))
    changes = differences({**json.loads(first["spec"]), "name": None}, {**json.loads(second["spec"]), "name": None})
    rows = accuracy_rows(database, [first["run_id"], second["run_id"]])
    identities = identities_of(database, [first["run_id"], second["run_id"]])
    for row in rows:
        row["trained_as"] = trained_as(row, identities)
    of_a, of_b = ([row for row in rows if row["run_id"] == run["run_id"]] for run in (first, second))
    return Comparison(first["run_id"], second["run_id"], tuple(changes), tuple(_pairs(of_a, of_b)))


def comparison_text(comparison: Comparison) -> str:
    """Return a comparison as two tables, accuracies in percent with their deviations and (numbers of networks)."""
    changes = Rows(("field", "a", "b"), tuple(comparison.changes)) if comparison.changes else None
    columns = ("trained on", "network", "a: top-1", "b: top-1", "b - a", "95% interval", "test", "told apart")
    accuracies = Rows(columns, tuple(_cells(pair) for pair in comparison.accuracies))
    parts = (
        f"a = {comparison.a}\nb = {comparison.b}\n",
        format_rows(changes, "table") if changes else "the specs are the same\n",
        format_rows(accuracies, "table") if accuracies.rows else "neither has accuracies of networks\n",
    )
    return "\n".join(parts)


def _cells(pair: Pair) -> tuple[str, ...]:
    row, half = pair.row, pair.half_width
    sides = (
        "" if side is None else f"{percent(side['top1_mean'], side['top1_std'])} ({side['num_models']})"
        for side in (pair.a, pair.b)
    )
    difference = "" if pair.difference is None else f"{100 * pair.difference:+.1f}"
    interval = ""
    if pair.difference is not None and half is not None:
        interval = f"{100 * (pair.difference - half):+.1f} to {100 * (pair.difference + half):+.1f}"
    verdict = {True: "yes", False: "no", None: ""}[pair.told_apart]
    return (source_text(row), network_text(row), *sides, difference, interval, pair.test or "", verdict)


def _pairs(of_a: Sequence[RowDict], of_b: Sequence[RowDict]) -> list[Pair]:
    """Pair each row of a with that of b of the same settings, else with the first of its kind that is left."""
    partners: dict[int, RowDict] = {}
    left = list(of_b)
    for columns in (WHAT + SETTINGS, WHAT):
        for position, row in enumerate(of_a):
            fits = [other for other in left if all(row[name] == other[name] for name in columns)]
            if position not in partners and fits:
                partners[position] = fits[0]
                left.remove(fits[0])
    pairs = [_pair(row, partners.get(position)) for position, row in enumerate(of_a)]
    return pairs + [_pair(None, row) for row in left]


def _pair(a: RowDict | None, b: RowDict | None) -> Pair:
    if a is None or b is None:
        return Pair(a, b, None, None, None)
    difference = b["top1_mean"] - a["top1_mean"]
    if min(a["num_models"], b["num_models"]) < 2:
        return Pair(a, b, difference, None, None)
    if a["trained_as"] == b["trained_as"]:
        return Pair(a, b, difference, _paired(a, b), "paired")
    return Pair(a, b, difference, _welch(a, b), "Welch")


def _paired(a: RowDict, b: RowDict) -> float:
    """Return half of the 95% confidence interval of the mean difference of networks that share seed and recipe.

    The first network of both runs starts from the same numbers and sees batches and augmentation in the same order, and
    so do the others: their accuracies are not independent.
    """
    differences = np.subtract(b["top1_each"], a["top1_each"])
    error = float(np.std(differences, ddof=1)) / math.sqrt(len(differences))
    return student_quantile(len(differences) - 1) * error


def _welch(a: RowDict, b: RowDict) -> float:
    """Return half of the 95% confidence interval of the difference of two means, with unequal variances."""
    parts = [(row["top1_std"] ** 2 / row["num_models"], row["num_models"] - 1) for row in (a, b)]
    variance = sum(part for part, _ in parts)
    if variance == 0:
        return 0.0
    degrees = variance**2 / sum(part**2 / below for part, below in parts)
    return student_quantile(degrees) * math.sqrt(variance)


def _change_json(change: Change) -> RowDict:
    """Return a change with its two values, one of them left out where it is not there."""
    values = {side: text for side, text in (("a", change.old), ("b", change.new)) if text != ABSENT}
    return {"field": change.path} | {side: json.loads(text) for side, text in values.items()}


def _pair_json(pair: Pair) -> RowDict:
    sides = {
        f"{side}_{name}": None if row is None else row[name]
        for side, row in (("a", pair.a), ("b", pair.b))
        for name in ("num_models", "top1_mean", "top1_std")
    }
    found = {name: getattr(pair, name) for name in ("difference", "half_width", "test", "told_apart")}
    return {name: pair.row[name] for name in (*WHAT, *SETTINGS)} | sides | found

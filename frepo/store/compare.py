"""Two runs, or two experiments of several seeds, side by side: what differs in specs, and what in accuracies."""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from frepo.plan.identity import ABSENT, Change, differences
from frepo.store.connect import student_quantile
from frepo.store.evaluated import identities_of, trained_as
from frepo.store.find import find_runs
from frepo.store.query import query
from frepo.store.tables import accuracy_rows, network_text, percent, source_text
from frepo.store.text import Rows, format_rows

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
    """Row of `accuracy_table`, or of `seed_table` for the seeds that are compared."""
    b: RowDict | None
    difference: float | None
    """Mean top-1 of b less that of a, as a share."""
    half_width: float | None
    """Of the 95% confidence interval of the difference; None where either has a single network, or seed."""
    test: Literal["paired", "Welch"] | None
    """Where it comes from: differences of networks that share seed and recipe, or means of independent networks; and
    the same of seeds: differences of runs that share the seed, or means of independent seeds."""

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
    """Two runs, or experiments, and in what they differ."""

    a: str
    """Run id."""
    b: str
    changes: tuple[Change, ...]
    """Of the resolved specs, their names left out."""
    accuracies: tuple[Pair, ...]
    seeds: tuple[list[int], list[int]] | None = None
    """Of a's and b's experiment, where these are compared; None where the two runs are."""

    def to_json(self) -> RowDict:
        """Return what `frepo compare --json` prints."""
        return {
            "a": self.a,
            "b": self.b,
            "a_seeds": self.seeds and self.seeds[0],
            "b_seeds": self.seeds and self.seeds[1],
            "changes": [_change_json(change) for change in self.changes],
            "accuracies": [_pair_json(pair) for pair in self.accuracies],
        }


def compare(database: Path, a: str, b: str) -> Comparison:
    """Compare two runs, each given by its name, which means the newest of that name, or by its run id.

    Names stand for experiments: where the database holds several seeds of both, the seeds are compared. A run id stands
    for that run.

    Raises:
        FrepoError: the database is not there, or does not hold one of them.
    """
    first, second = find_runs(database, (a, b))
    if first["experiment"] != second["experiment"] and a != first["run_id"] and b != second["run_id"]:
        of_a, of_b = (_seeds_of(database, run["experiment"]) for run in (first, second))
        seeds = tuple(sorted({seed for row in rows for seed in row["seeds"]}) for rows in (of_a, of_b))
        if min(map(len, seeds)) > 1:
            changes = _changes(first, second, "name", "seed")
            pairs = tuple(_pairs(of_a, of_b, _pair_of_seeds))
            return Comparison(first["run_id"], second["run_id"], changes, pairs, (seeds[0], seeds[1]))
    rows = accuracy_rows(database, [first["run_id"], second["run_id"]])
    identities = identities_of(database, [first["run_id"], second["run_id"]])
    for row in rows:
        row["trained_as"] = trained_as(row, identities)
    of_a, of_b = ([row for row in rows if row["run_id"] == run["run_id"]] for run in (first, second))
    changes = _changes(first, second, "name")
    return Comparison(first["run_id"], second["run_id"], changes, tuple(_pairs(of_a, of_b, _pair)))


def _seeds_of(database: Path, experiment: str) -> list[RowDict]:
    sql = "SELECT * FROM seed_table WHERE experiment = ? ORDER BY position, predictor"
    return query(database, sql, [experiment]).dicts()


def _changes(first: RowDict, second: RowDict, *left_out: str) -> tuple[Change, ...]:
    old, new = ({**json.loads(run["spec"]), **dict.fromkeys(left_out)} for run in (first, second))
    return tuple(differences(old, new))


def comparison_text(comparison: Comparison) -> str:
    """Return a comparison as two tables, accuracies in percent with their stds and (numbers of networks or seeds)."""
    changes = Rows(("field", "a", "b"), tuple(comparison.changes)) if comparison.changes else None
    columns = ("trained on", "network", "a: top-1", "b: top-1", "b - a", "95% interval", "test", "told apart")
    accuracies = Rows(columns, tuple(_cells(pair) for pair in comparison.accuracies))
    seeds = [f", with {len(of)} seeds: {', '.join(map(str, of))}" for of in comparison.seeds or ()] or ["", ""]
    parts = (
        f"a = {comparison.a}{seeds[0]}\nb = {comparison.b}{seeds[1]}\n",
        format_rows(changes, "table") if changes else "the specs are the same\n",
        format_rows(accuracies, "table") if accuracies.rows else "neither has accuracies of networks\n",
    )
    return "\n".join(parts)


def _cells(pair: Pair) -> tuple[str, ...]:
    row, half = pair.row, pair.half_width
    sides = ("" if side is None else _side_text(side) for side in (pair.a, pair.b))
    difference = "" if pair.difference is None else f"{100 * pair.difference:+.1f}"
    interval = ""
    if pair.difference is not None and half is not None:
        interval = f"{100 * (pair.difference - half):+.1f} to {100 * (pair.difference + half):+.1f}"
    verdict = {True: "yes", False: "no", None: ""}[pair.told_apart]
    return (source_text(row), network_text(row), *sides, difference, interval, pair.test or "", verdict)


def _side_text(row: RowDict) -> str:
    if "num_seeds" in row:
        return f"{percent(row['top1_mean'], row['top1_seeds_std'])} ({row['num_seeds']})"
    return f"{percent(row['top1_mean'], row['top1_std'])} ({row['num_models']})"


def _pairs(
    of_a: Sequence[RowDict], of_b: Sequence[RowDict], pair: Callable[[RowDict | None, RowDict | None], Pair]
) -> list[Pair]:
    """Pair each row of a with that of b of the same settings, else with the first of its kind that is left."""
    partners: dict[int, RowDict] = {}
    left = list(of_b)
    for columns in (WHAT + SETTINGS, WHAT):
        for position, row in enumerate(of_a):
            fits = [other for other in left if all(row[name] == other[name] for name in columns)]
            if position not in partners and fits:
                partners[position] = fits[0]
                left.remove(fits[0])
    pairs = [pair(row, partners.get(position)) for position, row in enumerate(of_a)]
    return pairs + [pair(None, row) for row in left]


def _pair(a: RowDict | None, b: RowDict | None) -> Pair:
    if a is None or b is None:
        return Pair(a, b, None, None, None)
    difference = b["top1_mean"] - a["top1_mean"]
    if min(a["num_models"], b["num_models"]) < 2:
        return Pair(a, b, difference, None, None)
    if a["trained_as"] == b["trained_as"]:
        # The first network of both runs starts from the same numbers and sees batches and augmentation in the same
        # order, and so do the others: their accuracies are not independent.
        return Pair(a, b, difference, _paired(a["top1_each"], b["top1_each"]), "paired")
    return Pair(a, b, difference, _welch(a["top1_each"], b["top1_each"]), "Welch")


def _pair_of_seeds(a: RowDict | None, b: RowDict | None) -> Pair:
    """Pair by seed, each side on the seeds that both have; where these are fewer than two, seeds are independent."""
    if a is None or b is None:
        return Pair(a, b, None, None, None)
    shared = sorted(set(a["seeds"]) & set(b["seeds"]))
    test: Literal["paired", "Welch"] = "Welch"
    if len(shared) > 1:
        a, b = (_on_seeds(row, shared) for row in (a, b))
        test = "paired"
    difference = b["top1_mean"] - a["top1_mean"]
    if min(a["num_seeds"], b["num_seeds"]) < 2:
        return Pair(a, b, difference, None, None)
    half = {"paired": _paired, "Welch": _welch}[test](a["top1_each_seed"], b["top1_each_seed"])
    return Pair(a, b, difference, half, test)


def _on_seeds(row: RowDict, seeds: Sequence[int]) -> RowDict:
    """Return a row of `seed_table` with what it says of accuracies over seeds on some of its seeds."""
    if list(seeds) == row["seeds"]:
        return row
    of_seed = dict(zip(row["seeds"], row["top1_each_seed"], strict=True))
    top1 = [of_seed[seed] for seed in seeds]
    return {
        **row,
        "seeds": list(seeds),
        "num_seeds": len(seeds),
        "top1_each_seed": top1,
        "top1_mean": float(np.mean(top1)),
        "top1_seeds_std": float(np.std(top1, ddof=1)),
        "top1_std": None,  # over networks of all its seeds
    }


def _paired(a: Sequence[float], b: Sequence[float]) -> float:
    """Return half of the 95% confidence interval of the mean difference of accuracies that belong together."""
    differences = np.subtract(b, a)
    error = float(np.std(differences, ddof=1)) / math.sqrt(len(differences))
    return student_quantile(len(differences) - 1) * error


def _welch(a: Sequence[float], b: Sequence[float]) -> float:
    """Return half of the 95% confidence interval of the difference of two means, with unequal variances."""
    parts = [(float(np.var(top1, ddof=1)) / len(top1), len(top1) - 1) for top1 in (a, b)]
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
        f"{side}_{name}": None if row is None else row.get(name)  # a run's own row has nothing over seeds
        for side, row in (("a", pair.a), ("b", pair.b))
        for name in ("num_seeds", "num_models", "top1_mean", "top1_std", "top1_seeds_std")
    }
    found = {name: getattr(pair, name) for name in ("difference", "half_width", "test", "told_apart")}
    return {name: pair.row[name] for name in (*WHAT, *SETTINGS)} | sides | found

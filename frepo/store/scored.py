"""The scores of a set: under its own recipe, under a common one, and what lies between them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from frepo.store.query import query
from frepo.store.tables import aligned, dataset_text, percent

RowDict = dict[str, Any]

SCORES = {
    "hard_label_recovery": "hard-label recovery",
    "improvement_over_random": "improvement over random",
    "label_robust_score": "label-robust score",
    "augmentation_robust_score": "augmentation-robust score",
}


def score_json(database: Path, run_ids: Sequence[str]) -> RowDict:
    """Return the accuracies of the cases of a score, by case and source, and the fair scores."""
    sql = """SELECT r.swept->>'$.case' AS "case", a.source, a.dataset, a.part, a.ipc, a.num_models,
            a.top1_mean, a.top1_std, a.top1_ci95
        FROM accuracy_table a JOIN runs r USING (run_id)
        WHERE list_contains($1, a.run_id) AND a.predictor = 'network' AND a.position IN (
            SELECT min(position) FROM accuracy_table b WHERE b.run_id = a.run_id AND b.source = a.source)
        ORDER BY list_position($1, a.run_id), a.position"""
    rows = query(database, sql, [list(run_ids)]).dicts()
    scores = """SELECT s.name, s.value, s.standard_error
        FROM scores s JOIN run_stages t ON t.run = s.run AND t.stage = s.stage WHERE list_contains(?, t.run_id)"""
    found = query(database, scores, [list(run_ids)]).dicts()
    return {"accuracies": rows, "fair_scores": {row.pop("name"): row for row in found}}


def score_text(found: RowDict, own: str | None, common: str) -> str:
    """Return the scores of a set as text: a table, what each switch from its own recipe changes, fair scores."""
    rows: list[RowDict] = found["accuracies"]
    at = {(row["case"], row["source"]): row for row in rows}
    first = rows[0]
    sources = list(dict.fromkeys(row["source"] for row in rows))
    cases = {"own": f"{own} (its own)", "common": f"{common} (common)"}
    text = f"{dataset_text(first)}, ipc {first['ipc']}, {first['num_models']} networks each\n"
    table = [("recipe", *("images" if source == "distilled" else source for source in sources))]
    for case, title in cases.items():
        if (case, "distilled") in at:
            table.append((title, *(_cell(at.get((case, source))) for source in sources)))
    text += aligned(table)
    switched = [row for row in rows if row["source"] == "distilled" and row["case"] not in cases]
    if ("own", "distilled") in at:
        own_mean = at["own", "distilled"]["top1_mean"]
        gap = at["common", "distilled"]["top1_mean"] - own_mean
        text += f"\nfrom its own recipe to the common one: {100 * gap:+.1f} points; with one thing alone as there:\n"
        text += aligned([(row["case"], _cell(row), f"{100 * (row['top1_mean'] - own_mean):+.1f}") for row in switched])
    scores: dict[str, RowDict] = found["fair_scores"]
    if scores:
        text += f"\nfair scores under {common}\n"
        text += aligned(
            [
                (SCORES.get(name, name), f"{row['value']:.3f} ± {row['standard_error']:.3f}")
                for name, row in scores.items()
            ]
        )
    return text


def _cell(row: RowDict | None) -> str:
    return "" if row is None else percent(row["top1_mean"], row["top1_std"])

"""The tables that the command line and the report show."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from frepo.errors import printable
from frepo.store.query import query
from frepo.store.seeds import counted, experiment_text, over, places_of, seed_rows
from frepo.store.text import Rows

UNITS = ("B", "KB", "MB", "GB")
"""Of bytes."""


def list_runs(database: Path) -> Rows:
    """Return one row for each run, the newest last; accuracies are those of its first application, of its own seed.

    The budget is that of the images that it has made or chosen itself, in bytes.
    """
    return query(
        database,
        """
        WITH times AS (
            SELECT run_id, sum(wall_s)::DOUBLE AS wall_s FROM run_stages JOIN stages USING (run, stage) GROUP BY run_id
        ), firsts AS (
            SELECT run_id, arg_min(top1_mean, (position, predictor <> 'network')) AS top1, source
            FROM accuracy_table GROUP BY run_id, source
        ), budgets AS (
            SELECT run_id, any_value(budget_bytes) AS budget_bytes FROM accuracy_table
            WHERE source IN ('distilled', method, method || '_pixels') GROUP BY run_id
        )
        SELECT r.run_id, r.sweep, r.status, r.dataset, r.method, r.ipc, b.budget_bytes, r.seed, t.wall_s,
            d.top1 AS distilled_top1, n.top1 AS random_top1, strftime(r.created_at, '%Y-%m-%d %H:%M') AS created
        FROM runs r
        LEFT JOIN times t USING (run_id)
        LEFT JOIN budgets b USING (run_id)
        LEFT JOIN firsts d ON d.run_id = r.run_id AND d.source = 'distilled'
        LEFT JOIN firsts n ON n.run_id = r.run_id AND n.source = 'random'
        ORDER BY r.created_at, r.run_id
        """,
    )


def accuracy_rows(database: Path, run_ids: Sequence[str]) -> list[dict[str, Any]]:
    """Return the rows of the view `accuracy_table` of the given runs."""
    sql = "SELECT * FROM accuracy_table WHERE list_contains(?, run_id) ORDER BY created_at, run_id, position"
    return query(database, sql, [list(run_ids)]).dicts()


def accuracy_text(database: Path, run_ids: Sequence[str]) -> str:
    """Return the accuracies of the given runs as aligned lines of text, in percent.

    Runs that are seeds of one experiment share a line, whose ± is the std over seeds.
    """
    places = places_of(database, run_ids)
    return aligned(_accuracy_cells(row, experiment_text(row, places)) for row in seed_rows(database, run_ids))


def results_text(database: Path, run_ids: Sequence[str]) -> str:
    """Return the results of the given runs as lines of text: accuracies, courses of steps, attacks."""
    return (
        accuracy_text(database, run_ids)
        + aligned(_continual_cells(row) for row in _of_runs(database, "continual_summary", run_ids))
        + aligned(_attack_cells(row) for row in _of_runs(database, "attack_table", run_ids))
    )


def results_json(database: Path, run_ids: Sequence[str]) -> list[dict[str, Any]]:
    """Return an object for each of the given runs: `run_id`, and the rows of the views that hold its results."""
    accuracies = accuracy_rows(database, run_ids)
    continual, attacks = (_of_runs(database, view, run_ids) for view in ("continual_summary", "attack_table"))

    def of(run_id: str, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{key: row[key] for key in row if key != "run_id"} for row in rows if row["run_id"] == run_id]

    return [
        {
            "run_id": run_id,
            "accuracies": of(run_id, accuracies),
            "continual": of(run_id, continual),
            "attacks": of(run_id, attacks),
        }
        for run_id in run_ids
    ]


def _of_runs(database: Path, view: str, run_ids: Sequence[str]) -> list[dict[str, Any]]:
    sql = f"SELECT * FROM {view} WHERE list_contains(?, run_id)"  # noqa: S608 (called with names from above)
    return query(database, sql, [list(run_ids)]).dicts()


def _continual_cells(row: dict[str, Any]) -> tuple[str, ...]:
    return (
        row["name"],
        source_text(row),
        f"average accuracy {percent(row['average_accuracy_mean'], row['average_accuracy_std'])}",
        f"forgetting {percent(row['forgetting_mean'], row['forgetting_std'])}",
        f"after each step {', '.join(f'{100 * accuracy:.1f}' for accuracy in row['accuracies'])}",
        f"({row['num_seeds']} seeds, {row['num_models']} networks each)",
    )


def _attack_cells(row: dict[str, Any]) -> tuple[str, ...]:
    return (
        row["name"],
        row["attack"],
        f"{row['train_steps']} steps on {row['source']}",
        f"AUC {row['auc_mean']:.3f}" + (f" ± {row['auc_std']:.3f}" if row["auc_std"] is not None else ""),
        f"advantage {row['advantage_mean']:.3f}",
        f"test accuracy {percent(row['test_accuracy_mean'], row['test_accuracy_std'])}",
        f"({row['num_chunks']} chunks)",
    )


def aligned(lines: Iterable[tuple[str, ...]]) -> str:
    """Return lines of cells as text, columns aligned; columns without content are left out."""
    lines = [tuple(map(printable, line)) for line in lines]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = ("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True) if width) for line in lines)
    return "".join(f"{line.rstrip()}\n" for line in padded)


def _accuracy_cells(row: dict[str, Any], title: str) -> tuple[str, ...]:
    std = f"{over(row)}_std"
    source = row["source"]
    samples = f"{networks_text(row)}: {network_text(row)}, {row['steps']} steps"
    return (
        title,
        dataset_text(row),
        "all images" if row["ipc"] is None or source == "full" else f"ipc {row['ipc']}",
        source_text(row),
        bytes_text(row["budget_bytes"]),
        f"top-1 {percent(row['top1_mean'], row[f'top1{std}'])}",
        "" if row["top5_mean"] is None else f"top-5 {percent(row['top5_mean'], row[f'top5{std}'])}",
        f"({samples}{', no augmentation' if row['augmentation'] == 'none' else ''})",
    )


def networks_text(row: dict[str, Any]) -> str:
    """Return of how many networks a row of `seed_table` is the mean; of several seeds with interval and stds."""
    networks = counted(row["num_models"], row["most_models"], "network")
    if row["num_seeds"] == 1:
        return networks
    each = "" if row["top1_std"] is None else f" ± {100 * row['top1_std']:.1f}"
    return f"{row['num_seeds']} seeds, 95% interval ± {100 * row['top1_seeds_ci95']:.1f}; {networks} a seed{each}"


def percent(mean: float, std: float | None) -> str:
    """Return `mean ± std` of shares in 0..1 as percent; a single network has no std."""
    return f"{100 * mean:.1f}%" if std is None else f"{100 * mean:.1f} ± {100 * std:.1f}%"


def bytes_text(count: int | None) -> str:
    """Return a number of bytes in three digits and a unit, each a thousand of the one before; nothing for None."""
    if count is None:
        return ""
    power = next(power for power, unit in enumerate(UNITS) if count < 999.5 * 1000**power or unit == UNITS[-1])
    return f"{count / 1000**power:.3g} {UNITS[power]}"


def dataset_text(row: dict[str, Any]) -> str:
    """Return in words which images a row of `accuracy_table` is about: the data set, and the part of it."""
    return row["dataset"] + (f" ({row['part']})" if row["part"] else "")


def source_text(row: dict[str, Any]) -> str:
    """Return in words what the networks of a row were trained on and how they predict, where that is not as usual."""
    labels = row.get("labels")  # courses of steps have no such column
    hard = ", hard labels" if row["source"] == "distilled" and labels == "hard" else ""
    return row["source"] + hard + (f", {row['predictor']}" if row["predictor"] != "network" else "")


def network_text(row: dict[str, Any]) -> str:
    """Return the network of a row in words: all in which networks differ, but what is as usual."""
    sizes = "".join(f" {name} {row[name]}" for name in ("width", "depth") if row[name] is not None)
    usual = "max" if row["architecture"] in ("alexnet", "vgg11") else "average"
    pooling = f", {row['pooling']} pooling".replace("none", "no") if row["pooling"] not in (None, usual) else ""
    precision = f", {row['precision']}" if row["precision"] not in (None, "float32") else ""
    normalization = "no" if row["normalization"] == "identity" else row["normalization"].replace("_", " ")
    return f"{row['architecture']}{sizes}, {normalization} normalisation{pooling}{precision}"

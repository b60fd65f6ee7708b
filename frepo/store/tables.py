"""The tables that the command line and the report show."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from frepo.store.query import Rows, query


def list_runs(database: Path) -> Rows:
    """Return one row for each run, the newest last; accuracies are those of its first application."""
    return query(
        database,
        """
        SELECT r.run_id, r.status, r.dataset, r.method, r.ipc, r.seed,
            sum(s.wall_s)::DOUBLE AS wall_s,
            arg_min(a.top1_mean, rs.position) FILTER (WHERE a.source = 'distilled') AS distilled_top1,
            arg_min(a.top1_mean, rs.position) FILTER (WHERE a.source = 'random') AS random_top1,
            strftime(r.created_at, '%Y-%m-%d %H:%M') AS created
        FROM runs r
        LEFT JOIN run_stages rs USING (run_id)
        LEFT JOIN stages s ON s.run = rs.run AND s.stage = rs.stage
        LEFT JOIN accuracy_table a ON a.run_id = r.run_id AND a.stage = rs.stage
        GROUP BY r.run_id, r.status, r.dataset, r.method, r.ipc, r.seed, r.created_at
        ORDER BY r.created_at, r.run_id
        """,
    )


def accuracy_rows(database: Path, run_ids: Sequence[str]) -> list[dict[str, Any]]:
    """Return the rows of the view `accuracy_table` of the given runs."""
    sql = "SELECT * FROM accuracy_table WHERE list_contains(?, run_id) ORDER BY created_at, run_id, position"
    return query(database, sql, [list(run_ids)]).dicts()


def accuracy_text(database: Path, run_ids: Sequence[str]) -> str:
    """Return the accuracy table of the given runs as aligned lines of text, in percent."""
    return _aligned(_accuracy_cells(row) for row in accuracy_rows(database, run_ids))


def results_text(database: Path, run_ids: Sequence[str]) -> str:
    """Return the results of the given runs as lines of text: accuracies, courses of steps, attacks."""
    return (
        accuracy_text(database, run_ids)
        + _aligned(_continual_cells(row) for row in _of_runs(database, "continual_summary", run_ids))
        + _aligned(_attack_cells(row) for row in _of_runs(database, "attack_table", run_ids))
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


def _aligned(lines: Iterable[tuple[str, ...]]) -> str:
    lines = list(lines)
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = ("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)
    return "".join(f"{line.rstrip()}\n" for line in padded)


def _accuracy_cells(row: dict[str, Any]) -> tuple[str, ...]:
    source = row["source"]
    networks = f"{row['num_models']} networks: {network_text(row)}, {row['steps']} steps"
    return (
        row["name"],
        row["dataset"],
        "all images" if row["ipc"] is None or source == "full" else f"ipc {row['ipc']}",
        source_text(row),
        f"top-1 {percent(row['top1_mean'], row['top1_std'])}",
        f"top-5 {percent(row['top5_mean'], row['top5_std'])}",
        f"({networks}{', no augmentation' if row['augmentation'] == 'none' else ''})",
    )


def percent(mean: float, deviation: float | None) -> str:
    """Return `mean ± deviation` of shares in 0..1 as percent; without deviation where one network has none."""
    return f"{100 * mean:.1f}%" if deviation is None else f"{100 * mean:.1f} ± {100 * deviation:.1f}%"


def source_text(row: dict[str, Any]) -> str:
    """Return in words what the networks of a row were trained on and how they predict, where that is not as usual."""
    labels = row.get("labels")  # courses of steps have no such column
    hard = ", hard labels" if row["source"] == "distilled" and labels == "hard" else ""
    return row["source"] + hard + (f", {row['predictor']}" if row["predictor"] != "network" else "")


def network_text(row: dict[str, Any]) -> str:
    """Return the network of a row in words."""
    width = "" if row["width"] is None else f" width {row['width']}"
    return f"{row['architecture']}{width}, {row['normalization']}"

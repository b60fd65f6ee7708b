"""From run directories into the database, as often as one likes."""

import csv
import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

import duckdb
from filelock import FileLock, Timeout

from frepo import record
from frepo.record import RunRecord, StageRecord
from frepo.store.connect import transaction

ROWS = {
    "metrics": (record.METRICS, ("step", "name", "value")),
    "evaluations": (
        record.EVALUATIONS,
        (
            *("model", "architecture", "normalization", "pooling", "width", "depth", "source", "predictor", "labels"),
            *("loss", "optimizer", "learning_rate", "augmentation", "augmentation_mode"),
            *("seed", "steps", "top1", "top5", "n_test"),
        ),
    ),
    "confusions": (record.CONFUSIONS, ("model", "predictor", "label", "predicted", "count")),
    "scores": (record.SCORES, ("name", "value", "standard_error")),
    "continual": (
        record.CONTINUAL,
        (
            *("seed", "source", "predictor", "model", "step", "num_steps", "task", "steps"),
            *("correct", "n_test"),
        ),
    ),
    "attacks": (
        record.ATTACKS,
        (
            *("chunk_index", "source", "train_steps", "model", "attack", "test_accuracy"),
            *("auc", "auc_low", "auc_high", "advantage", "tpr_at_1_in_100", "tpr_at_1_in_1000"),
            *("members", "non_members"),
        ),
    ),
}
"""Table -> the file of a stage's directory that its rows come from, and its columns after run and stage."""

NEVER_STARTED = "pending"


def ingest(database: Path, runs_dir: Path, names: Sequence[str] | None = None) -> int:
    """Put the runs of the given names, or of all, into the database and return how many; twice changes nothing.

    One transaction: a reader sees a run before or after, and a kill leaves it as it was.

    Raises:
        FrepoError: the database cannot be written, or a record is damaged.
    """
    found = [path for path in sorted(runs_dir.glob("*")) if path.is_dir() and not path.name.startswith(".")]
    directories = [path for path in found if names is None or path.name in names]
    runs = [(directory, list(record.read_runs(directory))) for directory in directories]
    with transaction(database) as connection:
        _ingest_published(connection)
        for directory, records in runs:
            _ingest_name(connection, directory, records)
    return sum(len(records) for _, records in runs)


def _ingest_published(connection: duckdb.DuckDBPyConnection) -> None:
    """Bring the numbers of the literature up to those that this version comes with."""
    text = files("frepo.store").joinpath("published.csv").read_text(encoding="utf-8")
    rows = [[value or None for value in row.values()] for row in csv.DictReader(text.splitlines())]
    connection.execute("DELETE FROM published")
    _insert(connection, "published", ["method", "dataset", "ipc", "metric", "mean", "std", "source"], rows)


def _ingest_name(connection: duckdb.DuckDBPyConnection, directory: Path, runs: Iterable[RunRecord]) -> None:
    name = directory.name
    for table in ("stages", *ROWS, "images", "run_stages"):
        connection.execute(f"DELETE FROM {table} WHERE run = ?", [name])  # noqa: S608 (names from the line above)
    connection.execute("DELETE FROM runs WHERE name = ?", [name])
    statuses: dict[str, str] = {}
    for run in runs:
        for stage in run.stages:
            if stage not in statuses:
                statuses[stage] = _ingest_stage(connection, name, directory / stage)
        _insert_run(connection, name, run, _status_of_run([statuses[stage] for stage in run.stages]))


def _ingest_stage(connection: duckdb.DuckDBPyConnection, run: str, directory: Path) -> str:
    stage = record.read_stage(directory)
    if stage is None:
        return NEVER_STARTED
    status = _actual_status(stage, directory)
    _insert_stage(connection, run, directory.name, stage, status)
    for table, (file, columns) in ROWS.items():
        rows = record.read_rows(directory / file)
        values = [[run, directory.name, *(row.get(column) for column in columns)] for row in rows]
        _insert(connection, table, ["run", "stage", *columns], values)
    _insert(
        connection,
        "images",
        ["run", "stage", "path", "view", "sha256", "step", "n_rows", "n_columns"],
        [[run, directory.name, i.path, i.view, i.sha256, i.step, i.rows, i.columns] for i in stage.images],
    )
    return status


def _actual_status(stage: StageRecord, directory: Path) -> str:
    """Return `interrupted` for a stage that says it is running while no process holds its lock."""
    if stage.status != "running":
        return stage.status
    lock = FileLock(directory / record.LOCK)
    try:
        with lock.acquire(timeout=0):
            return "interrupted"
    except Timeout:
        return "running"
    except OSError:  # somebody else's directory, read-only for us
        return "running"


def _status_of_run(statuses: Sequence[str]) -> str:
    for status in ("failed", "running", "interrupted", "stopped"):
        if status in statuses:
            return status
    return "done" if NEVER_STARTED not in statuses else "stopped" if "done" in statuses else NEVER_STARTED


def _insert_run(connection: duckdb.DuckDBPyConnection, name: str, run: RunRecord, status: str) -> None:
    """Insert a run under the name of its directory, which a user may have renamed or copied."""
    spec = run.spec
    run_id = f"{name}-{run.fingerprint[:8]}"
    git: dict[str, Any] = run.provenance.get("git") or {}
    values = {
        "run_id": run_id,
        "name": name,
        "fingerprint": run.fingerprint,
        "seed": spec["seed"],
        "dataset": spec["dataset"]["name"],
        "method": spec["distill"]["method"],
        "ipc": spec["distill"].get("ipc"),
        "status": status,
        "created_at": _utc(run.created),
        "command": run.provenance.get("command"),
        "host": run.provenance.get("host"),
        "frepo_version": run.provenance.get("frepo"),
        "git_commit": git.get("commit"),
        "git_dirty": git.get("dirty"),
        "spec": json.dumps(spec),
        "spec_file": run.spec_file,
        "spec_text": run.spec_text,
        "overrides": list(run.overrides),
        "provenance": json.dumps(run.provenance),
    }
    _insert(connection, "runs", list(values), [list(values.values())])
    rows = [[run_id, name, stage, position] for position, stage in enumerate(run.stages)]
    _insert(connection, "run_stages", ["run_id", "run", "stage", "position"], rows)


def _insert_stage(
    connection: duckdb.DuckDBPyConnection, run: str, directory: str, stage: StageRecord, status: str
) -> None:
    ended = [attempt for attempt in stage.attempts if attempt.ended]
    dataset = stage.dataset or {}
    last = stage.attempts[-1] if stage.attempts else None
    values = {
        "run": run,
        "stage": directory,
        "kind": stage.identity["kind"],
        "label": stage.label,
        "fingerprint": stage.fingerprint,
        "status": status,
        "step": stage.step,
        "steps": stage.steps,
        "started_at": _utc(stage.attempts[0].started) if stage.attempts else None,
        "ended_at": _utc(last.ended) if last and last.ended else None,
        "wall_s": sum((a.ended - a.started).total_seconds() for a in ended if a.ended),
        "device": last.device if last else None,
        "peak_host_bytes": max((a.peak_host_bytes or 0 for a in ended), default=None),
        "peak_device_bytes": max((a.peak_device_bytes or 0 for a in ended), default=None) or None,
        "dataset_fingerprint": dataset.get("fingerprint"),
        "class_names": dataset.get("class_names"),
        "identity": json.dumps(stage.identity),
        "attempts": json.dumps([attempt.model_dump(mode="json") for attempt in stage.attempts]),
    }
    _insert(connection, "stages", list(values), [list(values.values())])


def _utc(moment: datetime) -> datetime:
    """Return a time without zone: DuckDB's own type with a zone needs pytz to read."""
    return moment.astimezone(UTC).replace(tzinfo=None)


def _insert(
    connection: duckdb.DuckDBPyConnection, table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]
) -> None:
    """Insert rows in one statement: column by column, as lists that DuckDB unnests."""
    if not rows:
        return
    marks = ", ".join("unnest(?)" for _ in columns)
    statement = f"INSERT INTO {table} ({', '.join(columns)}) SELECT {marks}"
    connection.execute(statement, [list(column) for column in zip(*rows, strict=True)])

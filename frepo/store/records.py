"""Records of runs and stages as rows of the database."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from frepo.plan.identity import fingerprint
from frepo.rundir.record import RunRecord, StageRecord

NEVER_STARTED = "pending"

IMAGES = ("path", "view", "sha256", "step", "n_rows", "n_columns")
"""Columns of `images` after run and stage."""

TOP_OF_ALL = 5
"""With so many classes or fewer the true one is always among the first five."""


def run_row(name: str, run: RunRecord, runs_dir: str, status: str) -> dict[str, Any]:
    """Return the row of a run under the name of its directory, which a user may have renamed or copied."""
    spec = run.spec
    git: dict[str, Any] = run.provenance.get("git") or {}
    return {
        "run_id": f"{name}-{run.fingerprint[:8]}",
        "name": name,
        "fingerprint": run.fingerprint,
        "experiment": _experiment(spec),
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
        "spec": json.dumps(spec, allow_nan=False),
        "runs_dir": runs_dir,
        "spec_file": run.spec_file,
        "spec_text": run.spec_text,
        "overrides": list(run.overrides),
        "provenance": json.dumps(run.provenance, allow_nan=False),
        "sweep": run.sweep,
        "swept": json.dumps(run.swept, allow_nan=False),
    }


def _experiment(spec: dict[str, Any]) -> str:
    """Return the fingerprint that runs share whose specs differ in their names and seeds only."""
    return fingerprint({field: value for field, value in spec.items() if field not in ("name", "seed")})


def stage_row(run: str, directory: str, stage: StageRecord, status: str) -> dict[str, Any]:
    """Return the row of a stage."""
    ended = [attempt for attempt in stage.attempts if attempt.ended]
    dataset = stage.dataset or {}
    last = stage.attempts[-1] if stage.attempts else None
    return {
        "run": run,
        "stage": directory,
        "kind": stage.identity["kind"],
        "label": directory.rpartition("-")[0],  # within this run; another may call the same stage something else
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
        "image_shape": dataset.get("image_shape"),
        "budget_bytes": stage.budget_bytes,
        "identity": json.dumps(stage.identity, allow_nan=False),
        "attempts": json.dumps([attempt.model_dump(mode="json") for attempt in stage.attempts], allow_nan=False),
    }


def image_rows(stage: StageRecord) -> list[dict[str, Any]]:
    """Return the rows of a stage's images without run and stage."""
    return [dict(zip(IMAGES, (i.path, i.view, i.sha256, i.step, i.rows, i.columns), strict=True)) for i in stage.images]


def status_of_run(statuses: Sequence[str]) -> str:
    """Return the status of a run whose stages have these."""
    for status in ("failed", "running", "interrupted", "stopped"):
        if status in statuses:
            return status
    return "done" if NEVER_STARTED not in statuses else "stopped" if "done" in statuses else NEVER_STARTED


def _utc(moment: datetime) -> datetime:
    """Return a time without zone: DuckDB's own type with a zone needs pytz to read."""
    return moment.astimezone(UTC).replace(tzinfo=None)

"""A full disk, and run directories as a run leaves them, made of the program's own records."""

import hashlib
import io
import resource
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from frepo.plan import (
    AttackStage,
    ContinualStage,
    DistillStage,
    EvaluateStage,
    FairScoresStage,
    Plan,
    Stage,
    compile_plan,
)
from frepo.plan.work import Work
from frepo.rundir import record
from frepo.rundir.record import Attempt, ImageSheet, RunRecord, StageRecord, Status
from frepo.spec import ExperimentSpec

START = datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)
PROVENANCE: dict[str, Any] = {
    "frepo": "0.1.0",
    "code": {"sha256": "c" * 64, "commit": "facade", "dirty": True},
    "packages": {"jax": "0.10.0", "duckdb": None},
    "python": "3.11.0",
    "git": {"commit": "c0ffee", "dirty": True},
    "host": "here",
    "platform": "Linux",
    "cpu_count": 2,
    "command": "frepo run small.toml",
    "slurm_job": None,
}
TILE = 8


@dataclass
class FakeRuns:
    """A directory of runs that were never computed."""

    runs_dir: Path

    def __call__(
        self,
        name: str = "small",
        *,
        application: Sequence[dict[str, Any]] = ({"type": "evaluate", "baselines": ["random"]},),
        ipc: int = 1,
        seed: int = 0,
        scores: Sequence[Sequence[float]] = ((0.5, 0.75), (0.25, 0.5)),
        metrics: Sequence[tuple[int, str, float]] = ((0, "krr_accuracy", 0.25), (10, "krr_accuracy", 0.5)),
        status: Status = "done",
        label: Callable[[str], str] = lambda label: label,
        class_names: Sequence[str] = ("zero", "one"),
        spec_text: str = "name = 'small'\n",
        overrides: tuple[str, ...] = (),
        created: datetime = START,
        provenance: dict[str, Any] = PROVENANCE,
        dataset: dict[str, Any] = {"name": "digits"},  # noqa: B006 (nobody changes it)
        image_shape: Sequence[int] = (8, 8, 1),
        tables: dict[str, Any] | None = None,
        sweep: str | None = None,
        swept: dict[str, Any] = {},  # noqa: B006 (nobody changes it)
    ) -> tuple[Plan, RunRecord]:
        """Write a run; `scores` are the top-1 of the networks of each evaluation, in the order of the plan.

        `dataset` is that table of the spec, `tables` are fields of the others by table.
        `name` and `label` (applied to every stage's label) may be what no spec allows.
        """
        spec = ExperimentSpec.model_validate(
            {
                "name": "small",
                "seed": seed,
                "dataset": dataset,
                "application": list(application),
                **(tables or {}),
                "distill": {"method": "frepo", "ipc": ipc, **(tables or {}).get("distill", {})},
            }
        )
        plan = compile_plan(spec)
        remaining = list(scores)
        for stage in plan.stages:
            directory = self.runs_dir / name / stage.directory
            directory.mkdir(parents=True, exist_ok=True)
            images = _write_results(directory, stage.work, remaining, len(class_names), metrics)
            facts = {"class_names": list(class_names), "image_shape": list(image_shape), "fingerprint": "f" * 64}
            _write_stage(directory, stage, status, facts, label=label(stage.label), images=images)
        run = RunRecord(
            run_id=f"{name}-{plan.fingerprint[:8]}",
            name=name,
            fingerprint=plan.fingerprint,
            spec={**spec.model_dump(mode="json"), "name": name},
            spec_file="specs/small.toml",
            spec_text=spec_text,
            overrides=overrides,
            stages=tuple(stage.directory for stage in plan.stages),
            created=created,
            provenance=provenance,
            sweep=sweep,
            swept=swept,
        )
        record.write_record(self.runs_dir / name / f"run-{plan.fingerprint[:8]}.json", run)
        return plan, run

    def directory(self, name: str, stage: Stage) -> Path:
        """Return the directory of a stage of the run `name`."""
        return self.runs_dir / name / stage.directory


METRIC = ("step", "name", "value")


def _write_results(
    directory: Path, work: Work, scores: list[Sequence[float]], num_classes: int, metrics: Sequence[tuple[Any, ...]]
) -> tuple[ImageSheet, ...]:
    """Write what a stage leaves, the next of `scores` for an evaluation, and return its contact sheets."""
    match work:
        case DistillStage(distill=distill):
            _rewrite(directory / record.METRICS, [dict(zip(METRIC, row, strict=True)) for row in metrics])
            steps = [0, 1000] if distill.learned == "here" else [0]
            return tuple(_write_sheet(directory, step, num_classes, distill.ipc) for step in steps)
        case EvaluateStage():
            top1 = scores.pop(0)
            _rewrite(directory / record.EVALUATIONS, _evaluations(work, top1))
            _rewrite(directory / record.CONFUSIONS, _confusions(num_classes, len(top1)))
        case ContinualStage(step=step):
            _rewrite(directory / record.CONTINUAL, [_step(work, task) for task in range(1, step + 1)])
        case AttackStage(attacks=attacks):
            _rewrite(directory / record.ATTACKS, [_attacked(work, attack) for attack in attacks])
        case FairScoresStage():
            row = {"name": "label_robust_score", "value": 0.5, "standard_error": 0.25}
            _rewrite(directory / record.SCORES, [row])
    return ()


def _write_stage(
    directory: Path,
    stage: Stage,
    status: Status,
    facts: dict[str, Any],
    *,
    label: str | None = None,
    images: tuple[ImageSheet, ...] = (),
) -> None:
    """Write the record of a stage that one attempt has worked on for 90 seconds."""
    attempt = Attempt(
        started=START,
        ended=None if status == "running" else START + timedelta(seconds=90),
        last_step=1000,
        device="1 x cpu",
        peak_host_bytes=2**20,
        provenance=PROVENANCE,
    )
    stage_record = StageRecord(
        fingerprint=stage.fingerprint,
        identity=stage.identity,
        label=stage.label if label is None else label,
        status=status,
        step=1000,
        steps=1000,
        dataset=facts,
        attempts=(attempt,),
        images=images,
    )
    record.write_record(directory / record.STAGE_FILE, stage_record)


def _write_sheet(directory: Path, step: int, rows: int, columns: int) -> ImageSheet:
    """Write a sheet whose tile (r, c) has the colour (10 r, 10 c, step % 256)."""
    sheet = Image.new("RGB", (columns * TILE, rows * TILE))
    for row in range(rows):
        for column in range(columns):
            sheet.paste((10 * row, 10 * column, step % 256), (column * TILE, row * TILE, *_end(column, row)))
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    path = f"{record.IMAGES}/step-{step}.png"
    (directory / record.IMAGES).mkdir(exist_ok=True)
    (directory / path).write_bytes(buffer.getvalue())
    digest = hashlib.sha256(buffer.getvalue()).hexdigest()
    return ImageSheet(path=path, sha256=digest, step=step, rows=rows, columns=columns)


def _end(column: int, row: int) -> tuple[int, int]:
    return (column + 1) * TILE, (row + 1) * TILE


def _rewrite(path: Path, rows: list[record.Row]) -> None:
    path.unlink(missing_ok=True)
    record.append_rows(path, rows)


def _evaluations(work: EvaluateStage, scores: Sequence[float]) -> list[record.Row]:
    return [
        {
            "model": model,
            **record.network_columns(work.architecture),
            "source": work.source,
            "predictor": "network",
            "labels": work.recipe.labels,
            "loss": work.recipe.loss,
            "optimizer": work.recipe.optimizer,
            "learning_rate": work.recipe.learning_rate,
            "augmentation": "+".join(work.recipe.augmentation) or "none",
            "augmentation_mode": work.recipe.augmentation_mode,
            "seed": work.seed,
            "steps": 1000,
            "top1": top1,
            "top5": (1 + top1) / 2,
            "n_test": 360,
        }
        for model, top1 in enumerate(scores)
    ]


def _step(work: ContinualStage, task: int) -> record.Row:
    return {
        "seed": work.seed,
        "source": work.source,
        "predictor": "network",
        "model": 0,
        "step": work.step,
        "num_steps": work.num_steps,
        "task": task,
        "steps": 1000,
        "correct": 3,
        "n_test": 4,
    }


def _attacked(work: AttackStage, attack: str) -> record.Row:
    return {
        "chunk_index": work.chunk_index,
        "source": work.source,
        "train_steps": work.train_steps,
        "model": 0,
        "attack": attack,
        "test_accuracy": 0.5,
        "auc": 0.75,
        "auc_low": 0.5,
        "auc_high": 1.0,
        "advantage": 0.5,
        "tpr_at_1_in_100": 0.25,
        "tpr_at_1_in_1000": 0.125,
        "members": 100,
        "non_members": 100,
    }


def _confusions(classes: int, models: int) -> list[record.Row]:
    """Return counts of networks that take a quarter of each class for the next one."""
    return [
        {"model": m, "predictor": "network", "label": c, "predicted": (c + wrong) % classes, "count": 1 if wrong else 3}
        for m in range(models)
        for c in range(classes)
        for wrong in (0, 1)
    ]


@pytest.fixture
def fake_runs(tmp_path: Path) -> FakeRuns:
    """Return what writes run directories below `tmp_path/runs`."""
    return FakeRuns(tmp_path / "runs")


@pytest.fixture(scope="session")
def fake_runs_in() -> Callable[[Path], FakeRuns]:
    """Return the same for another directory, where a module shares its runs."""
    return FakeRuns


@pytest.fixture
def file_size_limit() -> Callable[[int], AbstractContextManager[None]]:
    """Return what lets no file grow past a number of bytes while its block runs, as on a full disk."""

    @contextmanager
    def limit(size: int) -> Generator[None]:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    return limit

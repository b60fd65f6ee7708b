"""A full disk, holders of leases, refused specs, runs that train nothing, and run directories as a run leaves them."""

import hashlib
import io
import resource
import subprocess
import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from frepo.errors import FrepoError, SpecError
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
from frepo.rundir.layout import STAGES, stage_directory
from frepo.rundir.record import Attempt, ImageSheet, RunRecord, StageRecord, Status
from frepo.runtime import RuntimeOptions
from frepo.spec import ExperimentSpec, LoadedSpec, load_spec
from frepo.store.ingest import ingest
from frepo.store.query import query

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
        budgets: Mapping[str, int] = {},
    ) -> tuple[Plan, RunRecord]:
        """Write a run; `scores` are the top-1 of the networks of each evaluation, in the order of the plan.

        `dataset` is that table of the spec, `tables` are fields of the others by table.
        `budgets` are the bytes of sets by the labels of the stages that made them.
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
            images = write_results(directory, stage.work, remaining, len(class_names), metrics)
            facts = {"class_names": list(class_names), "image_shape": list(image_shape), "fingerprint": "f" * 64}
            budget = budgets.get(stage.label)
            write_stage(directory, stage, status, facts, label=label(stage.label), images=images, budget_bytes=budget)
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


def write_results(
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


def write_stage(
    directory: Path,
    stage: Stage,
    status: Status,
    facts: dict[str, Any],
    *,
    label: str | None = None,
    images: tuple[ImageSheet, ...] = (),
    budget_bytes: int | None = None,
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
        budget_bytes=budget_bytes,
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
def database(fake_runs: FakeRuns, tmp_path: Path) -> Callable[[], Path]:
    """Return what ingests the run directories and returns the path of the database."""

    def database() -> Path:
        ingest(tmp_path / "results.duckdb", fake_runs.runs_dir)
        return tmp_path / "results.duckdb"

    return database


class Place:
    """A directory with specs that only choose images, so that nothing is trained; their runs and a database."""

    def __init__(self, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.path, self._capsys = path, capsys
        self.options = RuntimeOptions(runs_dir=path / "runs", database=path / "results.duckdb", data_dir=path / "data")
        self.runs_dir = self.options.runs_dir
        self.stages = self.runs_dir / STAGES

    def spec(self, name: str = "small", images: Path | None = None, top: str = "", more: str = "") -> LoadedSpec:
        """Write and load a spec of the digits, or of a folder of images; `top` and `more` are further lines."""
        dataset = 'name = "digits"' if images is None else f'name = "image_folder"\npath = "{images}"'
        path = self.path / f"{name}.toml"
        path.write_text(
            f'name = "{name}"\n{top}\n[dataset]\n{dataset}\n[distill]\nmethod = "random"\nipc = 1\n{more}\n'
        )
        return load_spec(path)

    def run(self, *specs: LoadedSpec, fresh: bool = False, **options: Any) -> tuple[list[str], str]:
        """Run and return (run ids, what was said); of an error its `said` is that."""
        from frepo.execute import runner  # slow to import

        chosen = RuntimeOptions(**{**vars(self.options), **options})
        self._capsys.readouterr()
        try:
            return runner.run(specs, chosen, fresh=fresh), self._capsys.readouterr().err
        except FrepoError as error:
            error.said = self._capsys.readouterr().err
            raise

    def stage(self, spec: LoadedSpec) -> tuple[Stage, Path]:
        """Return the one stage of a spec and its directory."""
        (stage,) = compile_plan(spec.spec).stages
        return stage, stage_directory(stage, self.runs_dir)

    def status(self) -> dict[str, str]:
        """Return the status of each run by name, as the database has it."""
        return dict(query(self.options.database, "SELECT name, status FROM runs ORDER BY name").rows)


@pytest.fixture
def place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Place:
    """Return a directory in which runs that train nothing are made."""
    return Place(tmp_path, capsys)


@pytest.fixture
def spec_errors(tmp_path: Path) -> Callable[..., list[str]]:
    """Return what has a call refuse a spec and returns the lines of the message, the directory left out."""

    def spec_errors(load: Callable[..., Any], *arguments: Any, **texts: str) -> list[str]:
        with pytest.raises(SpecError) as caught:
            load(*arguments, **texts)
        assert caught.value.exit_code == 2
        return str(caught.value).replace(f"{tmp_path}/", "").splitlines()

    return spec_errors


HOLD = """
import sys, time
from pathlib import Path
from frepo.rundir.lease import held
with held(Path(sys.argv[1]), 0.0):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def hold() -> Generator[Callable[[Path], subprocess.Popen[str]]]:
    """Return what starts a process that holds the lease of a directory; it is killed at the end."""
    started: list[subprocess.Popen[str]] = []

    def hold(directory: Path) -> subprocess.Popen[str]:
        directory.mkdir(parents=True, exist_ok=True)
        process = subprocess.Popen([sys.executable, "-c", HOLD, directory], stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        return process

    yield hold
    for process in started:
        process.kill()
        process.communicate()


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

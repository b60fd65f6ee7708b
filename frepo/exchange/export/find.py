"""From the name of a run to the distilled data that it has made."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from frepo.errors import FrepoError
from frepo.rundir import record
from frepo.rundir.record import RunRecord, StageRecord, read_runs, read_stage
from frepo.spec import Dataset, method_tables, without_place
from frepo.store.find import no_such_run


@dataclass(frozen=True)
class FoundStage:
    """A finished stage of a run that made distilled data."""

    run: RunRecord
    run_directory: Path
    dataset: Dataset
    stage: StageRecord
    directory: Path
    """Of the stage."""

    @property
    def is_part(self) -> bool:
        """Whether it is of a part of the run's data set or of another seed, as in a course of steps."""
        return _of(self.stage.identity, ("dataset", "seed")) != _of(self.run.spec, ("dataset", "seed"))

    @property
    def is_learned(self) -> bool:
        """Whether its images were learned, here or elsewhere, and not chosen among real ones."""
        return method_tables()[self.stage.identity["distill"]["method"]].learned is not None


def find_run(runs_dir: Path, name: str) -> tuple[Path, RunRecord]:
    """Return the directory and the record of a run, the newest of that name or the one with that run id.

    Raises:
        FrepoError: there is none, or a record is damaged.
    """
    known = {path.parent.name: path.parent for path in sorted(runs_dir.glob("*/run-*.json"))}
    if name in known:
        return known[name], list(read_runs(known[name]))[-1]
    of_family = known.get(name.rpartition("-")[0])
    for run in read_runs(of_family) if of_family else ():
        if run.run_id == name:
            return of_family or runs_dir, run
    raise no_such_run(name, known, runs_dir, "name another directory with --runs-dir")


def find_stage(run_directory: Path, run: RunRecord, label: str | None = None) -> FoundStage:
    """Return the stage of `run` with that label, or the one that made the data of its `[distill]` table.

    Raises:
        FrepoError: the run distills nothing, has no such stage or has not finished it, or its record cannot be read.
    """
    if label is None and run.spec["distill"]["method"] == "full":
        raise FrepoError(f"{run.run_id} uses all real images (method = 'full'): it has no distilled data to export")
    stages = _distill_stages(run_directory, run)
    for directory, stage in stages:
        if label in (stage.label, directory.name) if label else _is_that_of(run, stage):
            if stage.status != "done" or not (directory / record.DISTILLED).exists():
                raise FrepoError(f"{directory} is not finished ({stage.status}): `frepo run` its spec again to go on")
            return FoundStage(run, run_directory, _dataset_of(run, directory, stage), stage, directory)
    labels = [stage.label for _, stage in stages]
    if label:
        raise FrepoError(f"{run.run_id} has no stage `{label}` that makes images; it has {', '.join(labels) or 'none'}")
    raise FrepoError(
        f"{run.run_id} has no distilled data of its whole data set (yet): `frepo run` its spec again to go on"
        + (f", or name one of its stages with --stage: {', '.join(labels)}" if labels else "")
    )


def provenance(found: FoundStage) -> dict[str, Any]:
    """Return where distilled data comes from, as JSON."""
    attempt = found.stage.attempts[-1].provenance if found.stage.attempts else found.run.provenance
    return {
        "run_id": found.run.run_id,
        "name": found.run.name,
        "fingerprint": found.run.fingerprint,
        "stage": found.directory.name,
        "stage_fingerprint": found.stage.fingerprint,
        "spec": found.run.spec | {key: found.stage.identity[key] for key in ("dataset", "distill", "seed")},
        "frepo": attempt.get("frepo"),
        "code": attempt.get("code"),
        "dataset": found.stage.dataset,
    }


def _distill_stages(run_directory: Path, run: RunRecord) -> list[tuple[Path, StageRecord]]:
    found = ((run_directory / name, read_stage(run_directory / name)) for name in run.stages)
    return [(path, stage) for path, stage in found if stage is not None and "distill" in stage.identity]


def _is_that_of(run: RunRecord, stage: StageRecord) -> bool:
    keys = ("dataset", "seed")
    made, asked = stage.identity["distill"], run.spec["distill"]
    # What a spec leaves out may have been put in for the data set.
    as_asked = made.keys() == asked.keys() and all(asked[name] in (None, made[name]) for name in made)
    return as_asked and _of(stage.identity, keys) == _of(run.spec, keys)


def _of(tables: dict[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    return without_place({key: tables[key] for key in keys})


def _dataset_of(run: RunRecord, directory: Path, stage: StageRecord) -> Dataset:
    """Return the data set of a stage, where the spec of the run says that it lies by now."""
    try:
        return Dataset.model_validate({**stage.identity["dataset"], "path": run.spec["dataset"].get("path")})
    except ValidationError as error:
        reason = error.errors()[0]["msg"]
        raise FrepoError(f"the data set of {directory} is none of this version of frepo ({reason})") from None

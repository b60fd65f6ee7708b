"""From the name of a run to the distilled data that it has made."""

from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from frepo import record
from frepo.errors import FrepoError
from frepo.record import RunRecord, StageRecord, read_runs, read_stage
from frepo.spec import Dataset
from frepo.store.find import no_such_run


@dataclass(frozen=True)
class FoundStage:
    """The finished stage that made what the `[distill]` table of a run asks for."""

    run: RunRecord
    run_directory: Path
    dataset: Dataset
    stage: StageRecord
    directory: Path
    """Of the stage."""

    @property
    def source(self) -> str:
        """What the evaluations of the run call this data: `distilled`, or the name of what chose real images."""
        learned = self.run.spec["distill"]["method"] in ("frepo", "imported")
        return "distilled" if learned else self.stage.label


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


def find_stage(run_directory: Path, run: RunRecord) -> FoundStage:
    """Return the stage of `run` that made the data of its `[distill]`, and not that of a baseline or of a part of it.

    Raises:
        FrepoError: the run distills nothing, or has not finished it, or its record cannot be read.
    """
    try:
        dataset = Dataset.model_validate(run.spec["dataset"])
    except ValidationError as error:
        reason = error.errors()[0]["msg"]
        raise FrepoError(f"the data set of {run.run_id} is none of this version of frepo ({reason})") from None
    if run.spec["distill"]["method"] == "full":
        raise FrepoError(f"{run.run_id} uses all real images (method = 'full'): it has no distilled data to export")
    for name in run.stages:
        directory = run_directory / name
        stage = read_stage(directory)
        if stage is None or stage.identity.get("kind") != "distill":
            continue
        if all(stage.identity[key] == run.spec[key] for key in ("distill", "dataset", "seed")):
            if stage.status != "done" or not (directory / record.DISTILLED).exists():
                raise FrepoError(f"{directory} is not finished ({stage.status}): `frepo run` its spec again to go on")
            return FoundStage(run, run_directory, dataset, stage, directory)
    raise FrepoError(
        f"{run.run_id} has no distilled data of its whole data set (yet): `frepo run` its spec again to go on, or "
        "run a spec with an application of the type evaluate"
    )

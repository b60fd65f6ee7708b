"""Whether the images that results were computed from are still those of today."""

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from frepo.data.outside import mark_of_files
from frepo.errors import FrepoError
from frepo.plan import Plan, Stage
from frepo.rundir import record
from frepo.rundir.directory import StageBusyError, locked
from frepo.rundir.layout import stage_directory
from frepo.runtime import RuntimeOptions
from frepo.spec import Dataset

if TYPE_CHECKING:
    from frepo.data.dataset import DatasetInfo


class DataOfToday:
    """The data of stages: from outside, which takes no time, and its facts, for which it may have to be decoded.

    What an earlier run in this process has read is not taken for it.
    """

    def __init__(self, options: RuntimeOptions) -> None:
        self._options = options
        self._marks: dict[Dataset, str | None] = {}
        self._has_read = False

    def files(self, stage: Stage) -> str | None:
        """Return the mark of the files that the data of `stage` is read from; None where they are not there."""
        table = stage.dataset.as_stored()
        if table not in self._marks:
            self._marks[table] = mark_of_files(table, self._options.tfds_dir)
        return self._marks[table]

    def facts(self, stage: Stage) -> "DatasetInfo":
        """Return the facts of the data of `stage`.

        Raises:
            FrepoError: the data is not there, damaged, or does not fit the stage's table.
        """
        from frepo.data.load import forget, load_info  # not before it is needed: this takes half a second

        if not self._has_read:
            forget()
            self._has_read = True
        return load_info(stage.dataset, self._options.tfds_dir, self._options.cache_dir)  # pyright: ignore[reportArgumentType] (frozen pydantic models are hashable)

    def must_be_that_of_before(self, plan: Plan, facts: dict[str, "DatasetInfo"]) -> None:
        """Refuse to go on from, to build on, or to show results of other images than those of today.

        `facts` are those known already, by the place of the stage. Of other stages the data is read only where
        its files look different; where they are not there, they have not changed.

        Raises:
            FrepoError: the images of a stage have changed, or cannot be read.
        """
        for stage in plan.stages:
            directory = stage_directory(stage, self._options.runs_dir)
            found = record.read_intact_stage(directory)  # a damaged one is set aside
            if found is None or found.dataset is None:
                continue
            files = self.files(stage)
            today = facts.get(stage.place)
            if today is None:
                if files is None or files == found.data_files:
                    continue
                today = self.facts(stage)
            if found.dataset["fingerprint"] != today.fingerprint:
                raise FrepoError(
                    f"{directory} ({plan.spec.name}/{stage.directory}) was computed from other images: data set "
                    f"{today.name} has changed since; use the data of then, or compute all of it again with --fresh"
                )
            if found.status == "done" and files != found.data_files:
                _keep_mark(directory, files)


def _keep_mark(directory: Path, files: str | None) -> None:
    """Record that files that look different hold the same images, so that they need not be read the next time."""
    with suppress(StageBusyError, OSError), locked(directory, 0.0):
        found = record.read_intact_stage(directory)
        if found is not None and found.status == "done":
            record.write_record(directory / record.STAGE_FILE, found.model_copy(update={"data_files": files}))

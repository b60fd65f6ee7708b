"""A stage as its code sees it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from frepo.data.dataset import Dataset, DatasetInfo
from frepo.data.load import load_dataset
from frepo.engine.cost import Cost
from frepo.engine.journal import Journal
from frepo.plan import Stage
from frepo.rundir.layout import stage_directory
from frepo.runtime import RuntimeOptions

Load = Callable[[Any, Path, Path], Dataset]


@dataclass(frozen=True)
class Context:
    """A stage, with the options that say where the results that it needs lie."""

    stage: Stage
    options: RuntimeOptions

    @property
    def work(self) -> Any:
        """The stage's work, of the class that its kind determines."""
        return self.stage.work

    def dataset(self, load: Load = load_dataset) -> Dataset:
        """Return the data set of the stage; `load` may be another function of `frepo.data.load`.

        Raises:
            FrepoError: it is missing, damaged, or does not fit the stage's table.
        """
        return load(self.stage.dataset, self.options.tfds_dir, self.options.cache_dir)

    def directories(self, needs: tuple[Stage, ...]) -> list[Path]:
        """Return the directories of the given stages."""
        return [stage_directory(need, self.options.runs_dir) for need in needs]


class StageCode(Protocol):
    """The code of a kind of stage."""

    def check(self, stage: Stage, info: DatasetInfo) -> None:
        """Check a stage against the facts of its data before anything is computed.

        Raises:
            FrepoError: it does not fit the data.
        """
        ...

    def execute(self, context: Context, journal: Journal) -> None:
        """Compute a stage and write its results through `journal`.

        Raises:
            Interrupted: a signal came; the state is saved.
            FrepoError: a failure that the user can remedy.
        """
        ...

    def cost(self, context: Context) -> Cost | None:
        """Return the cost of its steps on this device, or None without steps. Results it needs may not exist yet."""
        ...

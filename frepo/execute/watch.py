"""Watching stages that other processes compute."""

import time

from frepo.errors import FrepoError
from frepo.execute.executor import Work
from frepo.execute.index import bring_up_if_free
from frepo.plan import Stage
from frepo.progress import note
from frepo.rundir import record
from frepo.rundir.layout import stage_directory
from frepo.rundir.status import is_done

SAY_SECONDS = 30.0
"""Between two lines on how far the running stages are."""


class Watch:
    """Says what other processes have done, and keeps the database up to date with it."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self.left = list(work.pending)
        """Stages that were not done at the last look."""
        self._said = time.monotonic()

    def look(self) -> None:
        """Find the stages that are done by now."""
        runs_dir = self._work.options.runs_dir
        done = {stage.place for stage in self.left if is_done(stage, runs_dir)}
        for stage in self.left:
            if stage.place in done:
                note(f"{self._work.graph.title(stage)}: done, {len(self.left) - len(done)} left")
        self.left = [stage for stage in self.left if stage.place not in done]
        left = {stage.place for stage in self.left}
        for experiment in self._work.graph.experiments if done else ():
            if done & experiment.places and not left & experiment.places:
                bring_up_if_free(self._work.options, experiment.name)
        if self.left and time.monotonic() - self._said > SAY_SECONDS:
            self._said = time.monotonic()
            running = [text for stage in self.left if (text := self._running(stage))]
            note(f"{len(self.left)} stages left" + (f"; {', '.join(running)}" if running else ""))

    def _running(self, stage: Stage) -> str | None:
        try:
            found = record.read_stage(stage_directory(stage, self._work.options.runs_dir))
        except FrepoError:
            return None
        if found is None or found.status != "running":
            return None
        name = f"{self._work.graph.asking(stage)[0].name}/{stage.directory}"
        return f"{name}: step {found.step:,} of {found.steps:,}" if found.steps else name

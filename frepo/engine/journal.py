"""The files that a stage writes while it works: rows of metrics, saved states, results."""

import hashlib
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from frepo.engine.checkpoint import restore_newest, save_state
from frepo.engine.environment import must_go_on_from, numerics
from frepo.errors import Interrupted
from frepo.rundir import record
from frepo.rundir.files import make_directories, write_atomically
from frepo.rundir.record import ImageSheet, ResultFile, Row
from frepo.rundir.rows import ROWS, MetricRows
from frepo.rundir.state import Unusable
from frepo.rundir.tensorboard import EventFile
from frepo.runtime import Cadence

T = TypeVar("T")
ABOUT_ROWS = 200


@dataclass
class Journal:
    """The directory of one stage while one process works on it."""

    directory: Path
    label: str
    checkpoint_every: Cadence
    log_every: int | None
    on_saved: Callable[[int, int], None]
    """Called with (step, steps) after each saved state, and when another one is saved than `recorded_step` says."""
    position: str = ""
    """Position among all stages, such as `[2/4]`, for display."""
    events: EventFile | None = None
    """The TensorBoard files, if they are requested."""
    recorded_step: int = 0
    """Step of the saved state according to the stage's record."""
    first_step: int = 0
    last_step: int = 0
    saved_step: int | None = None
    """Step of the newest saved state; None while it is unknown."""
    steps: int | None = None
    """Steps of the stage; None where it has none, or before it has come to them."""
    images: list[ImageSheet] = field(default_factory=list)
    results: dict[str, ResultFile] = field(default_factory=dict)
    """Result files written, except the contact sheets."""
    budget_bytes: int | None = None
    """What the distilled data costs that the stage has made; None if it makes none."""
    newest: dict[str, float] = field(default_factory=dict)
    """The metrics of the newest rows."""
    _saved_at: float = 0.0
    _rows: MetricRows = field(init=False)
    _written: set[tuple[int, str]] = field(default_factory=set)
    """Step and name of the rows left by an earlier attempt."""
    _held: Callable[[], None] | None = None

    def __post_init__(self) -> None:
        self._rows = MetricRows(self.directory / record.METRICS)

    def restore(self, like: T, steps: int) -> tuple[int, T] | None:
        """Return (step, state) to resume from, or None; rows of later steps are dropped.

        Raises:
            FrepoError: there is a state that cannot be resumed; nothing is changed.
        """
        found = restore_newest(self.directory / record.STATE, like, self._must_have_its_rows)
        self.first_step = self.last_step = self.saved_step = found[0] if found else 0
        self.steps = steps
        self._saved_at = time.monotonic()
        rows = self._rows.begin(self.first_step)
        self._written = {(row["step"], str(row.get("name"))) for row in rows}
        if self.events:
            self.events.begin(rows)
        if self.first_step != self.recorded_step:
            self.on_saved(self.first_step, steps)
        return found

    def _must_have_its_rows(self, made_under: Mapping[str, Any], path: Path) -> None:
        """Refuse a state of other numerics, and one whose rows of metrics are not as they were written."""
        _must_be_of_these_numerics(made_under, path)
        fault = self._rows.fault(int(path.stem), made_under.get(ROWS))
        if fault:
            raise Unusable(f"cannot be gone on from: {fault}")

    def logs(self, step: int, steps: int) -> bool:
        """Return whether the metrics of `step` are recorded."""
        every = self.log_every or max(1, steps // ABOUT_ROWS)
        return step % every == 0 or step == steps - 1

    def log(self, step: int, metrics: dict[str, float]) -> None:
        """Record the metrics of `step`, except those already recorded by an earlier attempt."""
        rows: list[Row] = [
            {"step": step, "name": name, "value": value}
            for name, value in metrics.items()
            if (step, name) not in self._written
        ]
        self._rows.append(rows)
        self.newest.update(metrics)
        if self.events:
            self.events.add(rows)

    def save_is_due(self, step: int) -> bool:
        """Return whether enough steps or seconds have passed since the last saved state."""
        return self.checkpoint_every.due(step - (self.saved_step or 0), time.monotonic() - self._saved_at)

    def save(self, step: int, steps: int, state: Any) -> None:
        """Save the state as of `step`, after its rows of metrics."""
        self._rows.sync()
        save_state(self.directory / record.STATE, step, state, {**numerics(), ROWS: self._rows.digest})
        self.last_step = self.saved_step = step
        self._saved_at = time.monotonic()
        self.on_saved(step, steps)

    def hold(self, step: int, steps: int, state: Callable[[], Any]) -> None:
        """Hold the state as of `step` while following work, such as scoring, leaves it unchanged."""

        def save() -> None:
            if self.saved_step != step:
                self.save(step, steps, state())

        self._held = save

    def release(self) -> None:
        """Release the state: the next step donates its arrays."""
        self._held = None

    @contextmanager
    def saving_where_stopped(self) -> Generator[None]:
        """Save the held state if a signal ends the block."""
        try:
            yield
        except Interrupted:
            if self._held:
                self._held()
            raise

    def write_result(self, name: str, content: bytes) -> Path:
        """Write a result file, atomically."""
        path = self.directory / name
        make_directories(path.parent)
        write_atomically(path, content)
        if path.parent.name != record.IMAGES:
            self.results[name] = ResultFile(size=len(content), sha256=hashlib.sha256(content).hexdigest())
        return path

    def write_rows(self, name: str, rows: list[Row]) -> None:
        """Write result rows, atomically, replacing those of an earlier attempt."""
        self.write_result(name, record.json_lines(rows).encode())

    def close_rows(self) -> None:
        """Count the rows of metrics among the results: no step follows."""
        found = self._rows.closed()
        if found:
            self.results[record.METRICS] = found


def _must_be_of_these_numerics(made_under: Mapping[str, Any], path: Path) -> None:
    must_go_on_from({name: value for name, value in made_under.items() if name != ROWS}, path)


class Follower(Journal):
    """The journal of a process that computes along with the writing one: it reads the states that one has saved."""

    def restore(self, like: T, steps: int) -> tuple[int, T] | None:  # noqa: ARG002
        """Return (step, state) to resume from, or None."""
        return restore_newest(self.directory / record.STATE, like, _must_be_of_these_numerics)

    def logs(self, step: int, steps: int) -> bool:  # noqa: ARG002
        """Return False: the first process records metrics."""
        return False

    def log(self, step: int, metrics: dict[str, float]) -> None:
        """Do nothing: the first process records metrics."""

    def save_is_due(self, step: int) -> bool:  # noqa: ARG002
        """Return False: the first process decides."""
        return False

    def save(self, step: int, steps: int, state: Any) -> None:
        """Do nothing: the first process saves."""

    def write_result(self, name: str, content: bytes) -> Path:  # noqa: ARG002
        """Return the path that the first process writes."""
        return self.directory / name

    def write_rows(self, name: str, rows: list[Row]) -> None:
        """Do nothing: the first process writes."""

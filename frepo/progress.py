"""Messages of a run while it works, on standard error: a live bar on a terminal, plain lines elsewhere."""

import os
import sys
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any

PLAIN_LINE_EVERY_SECONDS = 10.0


_silent = False


@contextmanager
def silenced(silent: bool = True) -> Generator[None]:
    """Suppress progress while the block runs, if `silent`; warnings still appear."""
    global _silent  # the whole process has one standard error
    before, _silent = _silent, _silent or silent
    try:
        yield
    finally:
        _silent = before


def note(message: str) -> None:
    """Report the current work."""
    if not _silent:
        print(message, file=sys.stderr, flush=True)


def warn(message: str) -> None:
    """Report a problem that does not stop the run."""
    print(f"warning: {message}", file=sys.stderr, flush=True)


class StepProgress:
    """Reports steps done, steps per second, their ratio to the device's peak, and the time left."""

    def __init__(self, label: str, start: int, total: int, steps_at_peak: float | None) -> None:
        self._label, self._start, self._total, self._peak = label, start, total, steps_at_peak
        self._began = self._last_line = time.monotonic()

    def update(self, step: int, metrics: Mapping[str, float]) -> None:  # noqa: ARG002
        """Report that `step` steps are done; `metrics` are the newest recorded values."""
        now = time.monotonic()
        if step < self._total and now - self._last_line < PLAIN_LINE_EVERY_SECONDS:
            return
        self._last_line = now
        rate = self._rate(step)
        left = (self._total - step) / rate if rate else 0.0
        note(f"{self._label}: step {step:,}/{self._total:,}, {self._speed(rate)}, {duration(left)} left")

    def _rate(self, step: int) -> float:
        return (step - self._start) / max(time.monotonic() - self._began, 1e-9)

    def _speed(self, rate: float) -> str:
        share = f" ({rate / self._peak:.0%} of peak)" if self._peak else ""
        return f"{rate:.3g} steps/s{share}"


class _BarProgress(StepProgress):
    """Two lines that are redrawn a few times a second: a bar, and below it speed, loss and newest accuracy."""

    def __init__(self, label: str, start: int, total: int, steps_at_peak: float | None) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
        from rich.text import Text

        class TwoLines(Progress):
            def get_renderables(self) -> Generator[Any]:
                yield self.make_tasks_table(self.tasks)
                yield from (Text(task.fields["below"], no_wrap=True, overflow="ellipsis") for task in self.tasks)

        super().__init__(label, start, total, steps_at_peak)
        columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
        console = Console(stderr=True)
        self._bar = TwoLines(*columns, TimeRemainingColumn(), console=console, refresh_per_second=4)
        self._task = self._bar.add_task(label, total=total, completed=start, below="")
        self._bar.start()

    def update(self, step: int, metrics: Mapping[str, float]) -> None:
        parts = (self._speed(self._rate(step)), shown(metrics))
        self._bar.update(self._task, completed=step, below="      " + "  ".join(filter(None, parts)))

    def close(self) -> None:
        self._bar.stop()


@contextmanager
def step_progress(
    label: str, start: int, total: int, steps_at_peak: float | None = None, position: str = ""
) -> Generator[StepProgress]:
    """Yield a progress report for steps `start` to `total`.

    `steps_at_peak` are the steps per second at the device's peak, `position` numbers the stage among all stages.
    """
    if _silent or not _on_terminal():
        yield StepProgress(label, start, total, steps_at_peak)
        return
    bar = _BarProgress(f"{position} {label}".strip(), start, total, steps_at_peak)
    try:
        yield bar
    finally:
        bar.close()


class ByteProgress:
    """Reports the bytes of a file that have arrived, their rate, and the time left."""

    def __init__(self, label: str, start: int, total: int) -> None:
        self._label, self._start, self._total = label, start, total
        self._began = self._last_line = time.monotonic()

    def update(self, done: int) -> None:
        """Report that `done` bytes are there."""
        now = time.monotonic()
        if done < self._total and now - self._last_line < PLAIN_LINE_EVERY_SECONDS:
            return
        self._last_line = now
        rate = max(done - self._start, 0) / max(now - self._began, 1e-9)
        left = f", {duration((self._total - done) / rate)} left" if rate else ""
        note(f"{self._label}: {done / 1e6:,.1f} of {self._total / 1e6:,.1f} MB, {rate / 1e6:.1f} MB/s{left}")


class _ByteBar(ByteProgress):
    def __init__(self, label: str, start: int, total: int) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        super().__init__(label, start, total)
        columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn())
        console = Console(stderr=True)
        self._bar = Progress(*columns, TransferSpeedColumn(), TimeRemainingColumn(), console=console)
        self._task = self._bar.add_task(label, total=total, completed=start)
        self._bar.start()

    def update(self, done: int) -> None:
        self._bar.update(self._task, completed=done)

    def close(self) -> None:
        self._bar.stop()


@contextmanager
def byte_progress(label: str, start: int, total: int) -> Generator[ByteProgress]:
    """Yield a progress report for the bytes `start` to `total` of a file."""
    if _silent or not _on_terminal():
        yield ByteProgress(label, start, total)
        return
    bar = _ByteBar(label, start, total)
    try:
        yield bar
    finally:
        bar.close()


def _on_terminal() -> bool:
    """Return whether standard error is a terminal on which a line can be redrawn."""
    return sys.stderr.isatty() and os.environ.get("TERM") not in ("dumb", "unknown")


def shown(metrics: Mapping[str, float]) -> str:
    """Return the loss and the newest accuracy in `metrics` in words, if there are any."""
    losses = [f"loss {value:.3g}" for name, value in metrics.items() if name.endswith("loss")]
    accuracies = [
        f"{name.replace('_', ' ')} {value:.1%}" for name, value in metrics.items() if name.endswith("accuracy")
    ]
    return "  ".join([*losses[-1:], *accuracies[-1:]])


def duration(seconds: float) -> str:
    """Return seconds as h:mm:ss."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}"

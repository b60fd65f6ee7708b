"""Messages of a run while it works, on standard error: a live bar on a terminal, plain lines elsewhere."""

import os
import sys
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any

from frepo.errors import printable

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
        print(printable(message), file=sys.stderr, flush=True)


def warn(message: str) -> None:
    """Report a problem that does not stop the run."""
    print(printable(f"warning: {message}"), file=sys.stderr, flush=True)


class _Bar:
    """A bar that is redrawn a few times a second, and a line below it where there is something to say."""

    def __init__(self, label: str, start: int, total: int, *columns: str) -> None:
        """Draw the bar with further columns, named as `rich.progress` names them."""
        from rich import progress
        from rich.console import Console
        from rich.text import Text

        class WithLines(progress.Progress):
            def get_renderables(self) -> Generator[Any]:
                yield self.make_tasks_table(self.tasks)
                lines = filter(None, (task.fields["below"] for task in self.tasks))
                yield from (Text(line, no_wrap=True, overflow="ellipsis") for line in lines)

        label_column = progress.TextColumn("{task.description}", markup=False)
        further = (getattr(progress, name)() for name in ("BarColumn", *columns, "TimeRemainingColumn"))
        self._bar = WithLines(label_column, *further, console=Console(stderr=True), refresh_per_second=4)
        self._task = self._bar.add_task(label, total=total, completed=start, below="")
        self._bar.start()

    def show(self, done: int, below: str = "") -> None:
        self._bar.update(self._task, completed=done, below=f"      {below}" if below else "")

    def close(self) -> None:
        self._bar.stop()


class _Progress:
    """What reports of steps and of bytes share: a bar on a terminal, elsewhere a line every few seconds and at the end.

    `bar` is None elsewhere.
    """

    def __init__(self, label: str, start: int, total: int, bar: _Bar | None) -> None:
        self._label, self._start, self._total, self._bar = label, start, total, bar
        self._began = self._last_line = time.monotonic()

    def _rate(self, done: int) -> float:
        """Return how much was done in a second."""
        return max(done - self._start, 0) / max(time.monotonic() - self._began, 1e-9)

    def _line(self, done: int, text: str) -> None:
        """Print a line with the time left, if it is time for one."""
        now = time.monotonic()
        if done < self._total and now - self._last_line < PLAIN_LINE_EVERY_SECONDS:
            return
        self._last_line = now
        rate = self._rate(done)
        left = f", {duration((self._total - done) / rate)} left" if rate else ""
        note(f"{self._label}: {text}{left}")


class StepProgress(_Progress):
    """Reports steps done, steps per second, their ratio to the device's peak, and the time left."""

    def __init__(self, label: str, start: int, total: int, steps_at_peak: float | None, bar: _Bar | None) -> None:
        super().__init__(label, start, total, bar)
        self._peak = steps_at_peak

    def update(self, step: int, metrics: Mapping[str, float]) -> None:
        """Report that `step` steps are done; `metrics` are the newest recorded values."""
        rate = self._rate(step)
        speed = f"{rate:.3g} steps/s" + (f" ({rate / self._peak:.0%} of peak)" if self._peak else "")
        if self._bar is None:
            self._line(step, f"step {step:,}/{self._total:,}, {speed}")
        else:
            self._bar.show(step, "  ".join(filter(None, (speed, shown(metrics)))))


class ByteProgress(_Progress):
    """Reports the bytes of a file that have arrived, their rate, and the time left."""

    def update(self, done: int) -> None:
        """Report that `done` bytes are there."""
        if self._bar is None:
            size = f"{done / 1e6:,.1f} of {self._total / 1e6:,.1f} MB"
            self._line(done, f"{size}, {self._rate(done) / 1e6:.1f} MB/s")
        else:
            self._bar.show(done)


@contextmanager
def step_progress(
    label: str, start: int, total: int, steps_at_peak: float | None = None, position: str = ""
) -> Generator[StepProgress]:
    """Yield a progress report for steps `start` to `total`.

    `steps_at_peak` are the steps per second at the device's peak, `position` numbers the stage among all stages.
    """
    with _bar(f"{position} {label}".strip(), start, total, "MofNCompleteColumn") as bar:
        yield StepProgress(label, start, total, steps_at_peak, bar)


@contextmanager
def byte_progress(label: str, start: int, total: int) -> Generator[ByteProgress]:
    """Yield a progress report for the bytes `start` to `total` of a file."""
    with _bar(label, start, total, "DownloadColumn", "TransferSpeedColumn") as bar:
        yield ByteProgress(label, start, total, bar)


@contextmanager
def _bar(label: str, start: int, total: int, *columns: str) -> Generator[_Bar | None]:
    """Yield a bar on a terminal, None elsewhere."""
    if _silent or not _on_terminal():
        yield None
        return
    bar = _Bar(label, start, total, *columns)
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

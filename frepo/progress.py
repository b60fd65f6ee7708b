"""What a run says while it works: to standard error, a live bar on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Generator
from contextlib import contextmanager

PLAIN_LINE_EVERY_SECONDS = 10.0


def note(message: str) -> None:
    """Say what is being done."""
    print(message, file=sys.stderr, flush=True)


def warn(message: str) -> None:
    """Say what went wrong without stopping."""
    print(f"warning: {message}", file=sys.stderr, flush=True)


class StepProgress:
    """Reports steps done, steps per second, their share of what the device could do, and the time left."""

    def __init__(self, label: str, start: int, total: int, steps_at_peak: float | None) -> None:
        self._label, self._start, self._total, self._peak = label, start, total, steps_at_peak
        self._began = self._last_line = time.monotonic()

    def update(self, step: int) -> None:
        """Report that `step` steps are done."""
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
    def __init__(self, label: str, start: int, total: int, steps_at_peak: float | None) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        super().__init__(label, start, total, steps_at_peak)
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[speed]}"),
        )
        self._bar = Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True))
        self._task = self._bar.add_task(label, total=total, completed=start, speed="")
        self._bar.start()

    def update(self, step: int) -> None:
        self._bar.update(self._task, completed=step, speed=self._speed(self._rate(step)))

    def close(self) -> None:
        self._bar.stop()


@contextmanager
def step_progress(label: str, start: int, total: int, steps_at_peak: float | None = None) -> Generator[StepProgress]:
    """Yield a progress report for steps `start` to `total`; `steps_at_peak` is what the device could do in a second."""
    if not sys.stderr.isatty():
        yield StepProgress(label, start, total, steps_at_peak)
        return
    bar = _BarProgress(label, start, total, steps_at_peak)
    try:
        yield bar
    finally:
        bar.close()


def duration(seconds: float) -> str:
    """Return seconds as h:mm:ss."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}"

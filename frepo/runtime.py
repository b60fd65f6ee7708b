"""How a result is computed, as opposed to what it is: nothing here enters a fingerprint."""

import os
from dataclasses import dataclass
from pathlib import Path

from frepo.errors import SpecError

DEFAULT_RUNS_DIR = Path("runs")
DEFAULT_DATABASE = Path("results.duckdb")


@dataclass(frozen=True)
class Cadence:
    """An interval in steps, in seconds of wall time, or both (whichever comes first)."""

    steps: int | None = None
    seconds: float | None = None

    @classmethod
    def parse(cls, text: str) -> "Cadence":
        """Read `1000` (steps) or `90s` (seconds).

        Raises:
            SpecError: the text is neither.
        """
        number = text.strip().removesuffix("s")
        try:
            value = float(number) if text.strip().endswith("s") else int(number)
        except ValueError:
            value = 0
        if not 0 < value < float("inf"):
            raise SpecError(f"--checkpoint-every {text}: write a number of steps (1000) or of seconds (90s)")
        return cls(seconds=value) if text.strip().endswith("s") else cls(steps=int(value))

    def due(self, steps: int, seconds: float) -> bool:
        """Return whether the interval has passed."""
        return (self.steps is not None and steps >= self.steps) or (
            self.seconds is not None and seconds >= self.seconds
        )


@dataclass(frozen=True)
class RuntimeOptions:
    """Directories, database and cadences of one invocation."""

    runs_dir: Path = DEFAULT_RUNS_DIR
    database: Path = DEFAULT_DATABASE
    data_dir: Path | None = None
    """Where TFDS keeps prepared data sets; None for its own default."""
    checkpoint_every: Cadence = Cadence(seconds=60.0)
    log_every: int | None = None
    """Steps between two rows of metrics; None for about 200 rows a stage."""

    @property
    def cache_dir(self) -> Path:
        """Decoded and preprocessed data and compiled programs, shared by all runs of `runs_dir`."""
        return self.runs_dir / ".cache"

    @property
    def tfds_dir(self) -> Path:
        """Directory of prepared TFDS data sets (`$TFDS_DATA_DIR`, else `~/tensorflow_datasets`)."""
        return self.data_dir or Path(os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")).expanduser()

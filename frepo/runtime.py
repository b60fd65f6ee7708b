"""The way to compute a result, as opposed to its content: nothing here enters a fingerprint."""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from frepo.errors import SpecError

DEFAULT_RUNS_DIR = Path("runs")
DEFAULT_DATABASE = Path("results.duckdb")
DEFAULT_REPORTS = Path("reports")
DEFAULT_CHUNK = 1000

Residency = Literal["auto", "device", "host"]


@dataclass(frozen=True)
class Cadence:
    """An interval in steps, in seconds of wall time, or both (whichever comes first)."""

    steps: int | None = None
    seconds: float | None = None

    @classmethod
    def parse(cls, text: str) -> "Cadence":
        """Read `1000` (steps) or `90s` (seconds).

        Raises:
            SpecError: the text has neither form.
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
class Processes:
    """Several processes that compute one experiment; all None if JAX finds them by itself."""

    coordinator: str | None = None
    """Address of the first process, HOST:PORT."""
    index: int | None = None
    count: int | None = None

    @classmethod
    def parse(cls, text: str) -> "Processes":
        """Read `auto` or `HOST:PORT,INDEX/COUNT`.

        Raises:
            SpecError: the text has neither form.
        """
        if text == "auto":
            return cls()
        found = re.fullmatch(r"([^,:]+:\d+),(\d+)/(\d+)", text)
        if found is None or not int(found[2]) < int(found[3]):
            raise SpecError(
                f"--distributed {text}: write auto (on Slurm, Open MPI or Kubernetes), or HOST:PORT,INDEX/COUNT with "
                "the address of the first process and an INDEX from 0 to COUNT-1"
            )
        return cls(found[1], int(found[2]), int(found[3]))


@dataclass(frozen=True, kw_only=True)
class RuntimeOptions:
    """Directories, database and cadences of one invocation."""

    runs_dir: Path = DEFAULT_RUNS_DIR
    database: Path | None = DEFAULT_DATABASE
    """None where another process brings it up to date."""
    data_dir: Path | None = None
    """Directory of prepared data sets; None for the default of TFDS."""
    checkpoint_every: Cadence = Cadence(seconds=60.0)
    log_every: int | None = None
    """Steps between two rows of metrics; None for about 200 rows per stage."""
    residency: Residency = "auto"
    """Location of the training images; `auto` puts them on the device if they fit."""
    chunk: int = DEFAULT_CHUNK
    """Size of a micro-batch, the images of the support that go through a network at once; bounds gradient memory."""
    compile_cache: bool = True
    """Keep compiled programs, so that a resumed run need not compile again."""
    processes: Processes | None = None
    """Set if several processes compute together."""
    tensorboard: bool = False
    """Write event files beside the metrics."""
    offline: bool = False
    """Fetch no data set."""

    @property
    def cache_dir(self) -> Path:
        """Decoded and preprocessed data and compiled programs, shared by all runs of `runs_dir`."""
        return self.runs_dir / ".cache"

    @property
    def tfds_dir(self) -> Path:
        """Directory of prepared data sets, by TFDS or frepo (`$TFDS_DATA_DIR`, else `~/tensorflow_datasets`)."""
        return self.data_dir or Path(os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")).expanduser()

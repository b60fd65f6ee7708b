"""What a run and its stages leave on disk: the only thing that is handed on.

runs/<name>/run-<fp8>.json                  the spec and the stages it consists of
runs/<name>/<label>-<fp8>                   a link to the place of each stage, which runs of all names share:
runs/.stages/<kind>-<fp12>/stage.json       identity, status, attempts, digests of results; `done` is written last
                          /metrics.jsonl, evaluations.jsonl, confusions.jsonl, scores.jsonl,
                           continual.jsonl, attacks.jsonl      result rows
                          /distilled.npz, images/*.png, tuning.json, network/, exposed.npz    results
                          /events.out.tfevents.*              the metrics again, for TensorBoard, where asked for
                          /state/                             while it runs: what a resumed run goes on from
                          /.lease-<n>                         while it runs: who works on it
"""

import json
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from frepo.errors import FrepoError
from frepo.plan.kinds import ATTACKS as ATTACKS
from frepo.plan.kinds import CONFUSIONS as CONFUSIONS
from frepo.plan.kinds import CONTINUAL as CONTINUAL
from frepo.plan.kinds import DISTILLED as DISTILLED
from frepo.plan.kinds import EVALUATIONS as EVALUATIONS
from frepo.plan.kinds import EXPOSED as EXPOSED
from frepo.plan.kinds import NETWORK as NETWORK
from frepo.plan.kinds import SCORES as SCORES
from frepo.plan.kinds import TUNING as TUNING
from frepo.reading import is_inside, read_regular
from frepo.rundir.files import write_atomically
from frepo.rundir.seal import sealed, unsealed
from frepo.spec import Architecture

STAGE_FILE = "stage.json"
RUN_FILES = "run-*.json"
METRICS = "metrics.jsonl"
IMAGES = "images"
STATE = "state"

Row = dict[str, Any]
Status = Literal["running", "stopped", "failed", "done"]
View = Literal["pixels", "inputs"]
"""Of distilled images: as pixels, whitening undone; or as the network gets them, scaled to be seen."""


LARGEST_RECORD = 2**27
"""Bytes; that of a run has the texts of its spec."""
MOST_TILES = 2**16
"""Rows or columns of a contact sheet."""


def _must_be_inside(path: str) -> str:
    """Refuse a path that may lead out of the directory that it is relative to."""
    if not is_inside(path):
        raise ValueError(f"{path[:100]!a} is no path inside of its directory")
    return path


Inside = Annotated[str, AfterValidator(_must_be_inside)]


class DamagedError(FrepoError):
    """A file is not what was written."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path} is damaged ({reason}); `frepo run` with its spec sets it aside and makes it anew")
        self.reason = reason


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


R = TypeVar("R", bound=_Record)


class Attempt(_Record):
    """One process that worked on a stage."""

    started: datetime
    ended: datetime | None = None
    """None while it runs, and for ever when it was killed."""
    first_step: int = 0
    last_step: int | None = None
    """What the newest saved state holds, or all steps; None before there is one."""
    error: str | None = None
    """Why it failed or stopped."""
    log: str | None = None
    """The file that its process wrote to; None for a terminal."""
    device: str | None = None
    peak_host_bytes: int | None = None
    peak_device_bytes: int | None = None
    provenance: dict[str, Any]
    """Code, packages, machine and command, and `numerics`: what besides changes numbers."""


class ImageSheet(_Record):
    """A contact sheet of distilled images: one row of tiles for each class, one column for each image of a class."""

    path: Inside
    """Relative to the stage's directory."""
    view: View = "pixels"
    sha256: str
    step: int
    rows: int = Field(ge=1, le=MOST_TILES)
    columns: int = Field(ge=1, le=MOST_TILES)


class ResultFile(_Record):
    """What a file of results held when it was written."""

    size: int
    """In bytes."""
    sha256: str


class StageRecord(_Record):
    """State and history of a stage."""

    fingerprint: str
    identity: dict[str, Any]
    label: str
    status: Status
    step: int = 0
    steps: int | None = None
    dataset: dict[str, Any] | None = None
    """Facts found in the data: number of classes, class names, image shape, fingerprint of the pixels."""
    data_files: str | None = None
    """Digest of names, sizes and times of the files that the data was read from."""
    attempts: tuple[Attempt, ...] = ()
    images: tuple[ImageSheet, ...] = ()
    results: dict[Inside, ResultFile] = {}
    """Name of a file in the stage's directory -> what it holds."""
    budget_bytes: int | None = None
    """What the distilled data costs that it has made; None for other stages, and in records of earlier versions."""


class RunRecord(_Record):
    """A spec and the directories of its stages."""

    run_id: str
    name: str
    fingerprint: str
    spec: dict[str, Any]
    spec_file: str
    spec_text: str
    extended: dict[str, str] = {}
    """Files that it extends, nearest first: path -> text."""
    overrides: tuple[str, ...]
    stages: tuple[Inside, ...]
    created: datetime
    provenance: dict[str, Any]
    sweep: str | None = None
    """Name of the sweep that the run belongs to."""
    swept: dict[str, Any] = {}
    """Axis of the sweep -> the run's value: a dotted field, such as `distill.ipc`, or `case` with its label."""


def network_columns(architecture: Architecture) -> Row:
    """Return what result rows say of a network; None for what its kind does not have."""
    return {
        "architecture": architecture.type,
        "normalization": architecture.normalization,
        "pooling": getattr(architecture, "pooling", None),
        "width": architecture.width,
        "depth": getattr(architecture, "depth", None),
    }


def write_record(path: Path, record: StageRecord | RunRecord) -> None:
    """Write a record atomically, with its digest in its first line."""
    write_atomically(path, sealed(record.model_dump_json(indent=1).encode()))


def read_stage(directory: Path) -> StageRecord | None:
    """Return the record of a stage, or None where there is none.

    Raises:
        DamagedError: the record is damaged.
        FrepoError: it cannot be read, or is of another version of frepo.
    """
    return _read(directory / STAGE_FILE, StageRecord)


def read_intact_stage(directory: Path) -> StageRecord | None:
    """Return the same, and None where the record is damaged too.

    Raises:
        FrepoError: it cannot be read, or is of another version of frepo.
    """
    try:
        return read_stage(directory)
    except DamagedError:
        return None


def run_files(run_directory: Path) -> list[Path]:
    """Return the files of the run records below `runs/<name>/`."""
    return sorted(run_directory.glob(RUN_FILES))


def read_run(path: Path) -> RunRecord | None:
    """Return a run record, or None where there is none.

    Raises:
        DamagedError: the record is damaged.
        FrepoError: it cannot be read, or is of another version of frepo.
    """
    return _read(path, RunRecord)


def read_runs(run_directory: Path) -> Iterator[RunRecord]:
    """Yield the run records below `runs/<name>/`, oldest first."""
    records = [read_run(path) for path in run_files(run_directory)]
    yield from sorted((record for record in records if record), key=lambda record: record.created)


def _read(path: Path, model: type[R]) -> R | None:
    try:
        content = read_regular(path, LARGEST_RECORD)
    except FileNotFoundError:
        return None
    except IsADirectoryError:
        raise DamagedError(path, "it is a directory") from None
    except OSError as error:
        raise FrepoError(f"{path} cannot be read ({error.strerror}) and is left as it is") from None
    try:
        text, is_sealed = unsealed(content)
    except ValueError as error:
        raise DamagedError(path, str(error)) from None
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        reason = error.errors()[0]["msg"]
        if is_sealed:
            raise FrepoError(
                f"{path} is intact, but of another version of frepo ({reason}): use that, or move its directory away"
            ) from None
        raise DamagedError(path, reason) from None


def append_rows(path: Path, rows: Iterable[Row]) -> None:
    """Append rows as JSON lines."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json_lines(rows))


def read_rows(path: Path) -> list[Row]:
    """Return the rows of a file of JSON lines; a last line cut off by a kill is left out.

    Raises:
        DamagedError: it holds something else.
    """
    try:
        lines = path.read_bytes().split(b"\n")[:-1]
    except FileNotFoundError:
        return []
    except IsADirectoryError:
        raise DamagedError(path, "it is a directory") from None
    found: list[Any] = []
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict):
            raise DamagedError(path, f"line {number} is no row")
        found.append(row)
    return found


def json_lines(rows: Iterable[Row]) -> str:
    """Return rows as the text of a file of JSON lines."""
    return "".join(f"{json.dumps(row, sort_keys=True)}\n" for row in rows)

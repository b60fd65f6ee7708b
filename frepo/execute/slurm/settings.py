"""The user's file about a cluster: what each job asks Slurm for. Nothing of it stands in a spec."""

import datetime
import os
import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator

from frepo.spec import load_table
from frepo.spec.table import Few, Table

SET_ELSEWHERE = {
    "account": "account",
    "array": "max_parallel",
    "constraint": "constraint",
    "cpus-per-task": "cpus",
    "gpus": "gpus",
    "gpus-per-node": "gpus",
    "mem": "memory",
    "partition": "partition",
    "qos": "qos",
    "signal": "notice",
    "time": "time",
}
"""Options of sbatch that a field sets, and the field."""

FIXED = (
    *("chdir", "dependency", "error", "job-name", "no-requeue", "nodes", "ntasks", "ntasks-per-node", "open-mode"),
    *("output", "requeue", "wckey"),
)
"""Options of sbatch that a stage needs as they are."""


def _minutes(value: Any) -> Any:
    """Return minutes, rounded up, of one of the ways in which Slurm writes a time."""
    if isinstance(value, datetime.time):
        raise ValueError('a time is in quotes: "HH:MM:SS"')
    if not isinstance(value, str):
        return value
    found = re.fullmatch(r"(?:(\d+)-)?(\d+):(\d\d):(\d\d)", value)
    if found is None:
        raise ValueError(f'{value!r} is not allowed; write minutes (90), "HH:MM:SS" or "DAYS-HH:MM:SS"')
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return (days * 24 + hours) * 60 + minutes + (seconds > 0)


Minutes = Annotated[int, BeforeValidator(_minutes), Field(ge=1, le=1_000_000)]
Word = Annotated[str, Field(pattern=r"^[^\s]+$")]
"""A name that the cluster knows."""
OptionName = Annotated[str, Field(pattern=r"^[a-z][a-z-]*$")]
Line = Annotated[str, Field(pattern=r"^[^\n\r]*$")]


class Settings(Table):
    """What the job of a stage asks for; of a field that is left out the cluster's own default holds."""

    partition: Word | None = None
    """Where jobs queue."""

    account: Word | None = None
    """Who is charged for them."""

    qos: Word | None = None
    """Quality of service."""

    constraint: Word | None = None
    """Features that a node must have, in sbatch's words."""

    gpus: Annotated[int, Field(ge=0, le=1000)] = 0
    """Of a node; a stage runs on one."""

    cpus: Few = 1
    """Cores."""

    memory: Annotated[str, Field(pattern=r"^[1-9]\d*[KMGT]$")] | None = None
    """Of a node, as sbatch writes it: `16G`."""

    time: Minutes = 60
    """Limit of a job: minutes, or `HH:MM:SS`. A stage that takes longer saves its state and is queued anew."""

    notice: Annotated[int, Field(ge=1, le=3600, validate_default=True)] = 120
    """Seconds before the limit at which a stage is told to save its state."""

    max_timeouts: Few = 100
    """A stage that runs into the limit more often than this has failed."""

    max_parallel: Annotated[int, Field(ge=1, le=100_000)] = 100
    """Jobs of one array that run at a time."""

    setup: Annotated[tuple[Line, ...], Field(strict=False)] = ()
    """Lines of shell before the command of a job: `module load cuda`."""

    options: dict[OptionName, str | int | bool] = Field(default_factory=dict)
    """Further options of sbatch by their long names; `true` for one that takes no value."""

    @field_validator("notice")
    @classmethod
    def _refuse_a_notice_that_comes_before_the_start(cls, notice: int, info: ValidationInfo) -> int:
        minutes = info.data.get("time")  # none where that is not valid itself
        if minutes is not None and notice >= minutes * 60:
            raise ValueError(f"a notice of {notice} s is no less than the limit `time`, {minutes} min")
        return notice

    @field_validator("options")
    @classmethod
    def _refuse_options_set_elsewhere(cls, options: dict[str, str | int | bool]) -> dict[str, str | int | bool]:
        for name, value in options.items():
            if name in SET_ELSEWHERE:
                raise ValueError(f"{name} is set by the field `{SET_ELSEWHERE[name]}`")
            if name in FIXED:
                raise ValueError(f"{name} is set by frepo itself")
            if value is False:
                raise ValueError(f"{name} = false asks for nothing: leave it out")
        return options


def default_file() -> Path:
    """Return where the settings are looked for (`$XDG_CONFIG_HOME`, else `~/.config`)."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser() / "frepo" / "slurm.toml"


def load_settings(path: Path | None) -> Settings:
    """Read the settings at `path`; with None, those of the default file, which need not be there.

    Raises:
        SpecError: they cannot be read, or are not valid; the message names file, line and field.
    """
    if path is None:
        path = default_file()
        if not path.exists():
            return Settings()
    return load_table(path, Settings)

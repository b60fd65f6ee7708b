"""Which executor computes the stages, from the options of `frepo run`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from frepo.errors import FrepoError, SpecError

if TYPE_CHECKING:
    from frepo.execute.executor import Executor
    from frepo.execute.slurm.settings import Settings
    from frepo.runtime import RuntimeOptions
    from frepo.spec import LoadedSpec

Name = Annotated[
    Literal["local", "slurm"],
    typer.Option("--executor", help="Who computes: this machine, or jobs of a Slurm cluster, one for each stage."),
]
Jobs = Annotated[
    int, typer.Option(min=1, help="Processes that work side by side: one per GPU, or a part of the cores each.")
]
Config = Annotated[
    Path | None,
    typer.Option(
        "--executor-config",
        help="What a job asks Slurm for, in TOML.",
        show_default="~/.config/frepo/slurm.toml",
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the scripts that Slurm would get, and submit nothing.")]
Wait = Annotated[bool, typer.Option("--wait", help="Wait for the jobs, keep the database current, print the results.")]


@dataclass(frozen=True)
class Choice:
    """The options together.

    Raises:
        SpecError: one of them says nothing beside the others.
    """

    name: Literal["local", "slurm"] = "local"
    jobs: int = 1
    config: Path | None = None
    dry_run: bool = False
    wait: bool = False
    together: bool = False
    fresh: bool = False

    def __post_init__(self) -> None:
        if self.jobs > 1 and self.together:
            raise SpecError(
                "--jobs computes several stages side by side, --distributed one stage together: give one of them"
            )
        if self.name == "slurm":
            if self.jobs > 1 or self.together:
                raise SpecError("--jobs and --distributed divide this machine: leave them out with --executor slurm")
            if self.dry_run and (self.fresh or self.wait):
                raise SpecError("--dry-run computes nothing: leave out --fresh and --wait")
        elif self.config or self.dry_run or self.wait:
            raise SpecError("--executor-config, --dry-run and --wait are for --executor slurm")

    def executor(self) -> "Executor | None":
        """Return what computes the stages; None for this process.

        Raises:
            SpecError: the settings of the cluster are not valid, or the machine cannot be divided so.
            FrepoError: submitit is not installed.
        """
        if self.name == "slurm":
            settings = self._settings()
            from frepo.execute.slurm.executor import SlurmJobs

            return SlurmJobs(settings, wait=self.wait)
        if self.jobs > 1:
            from frepo.execute.local import LocalProcesses

            return LocalProcesses(self.jobs)
        return None

    def print_scripts(self, specs: "Sequence[LoadedSpec]", options: "RuntimeOptions") -> None:
        """Print what `sbatch` would be given.

        Raises:
            FrepoError: as for `executor`.
        """
        settings = self._settings()
        from frepo.execute.slurm.executor import dry_run

        for script in dry_run(specs, options, settings):
            typer.echo(script)

    def _settings(self) -> "Settings":
        from importlib.util import find_spec

        from frepo.execute.slurm.settings import load_settings

        if find_spec("submitit") is None:
            raise FrepoError("--executor slurm needs submitit: pip install 'frepo[slurm]'")
        return load_settings(self.config)

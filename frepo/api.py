"""`frepo.run`: what the command does, called from Python."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from frepo.runtime import DEFAULT_CHUNK, DEFAULT_DATABASE, DEFAULT_RUNS_DIR, Cadence, Residency, RuntimeOptions
from frepo.spec import LoadedSpec, load_spec
from frepo.store.tables import accuracy_rows, results_text


@dataclass(frozen=True, repr=False)
class RunResult:
    """What a run came to; a notebook shows it as the lines that the command prints."""

    run_id: str
    """Name and start of the fingerprint: `run_id` in the tables of the database."""

    directory: Path
    """`runs/<name>`, with one directory for each stage."""

    accuracies: tuple[dict[str, Any], ...] = field(hash=False)
    """The rows of the view `accuracy_table` of this run, shares in 0..1; empty where nothing is evaluated."""

    text: str
    """Accuracies, courses of steps and attacks, as the command prints them."""

    def __repr__(self) -> str:
        return self.text.rstrip() or self.run_id


def run(
    spec: LoadedSpec | Path | str,
    *,
    fresh: bool = False,
    checkpoint_every: str = "60s",
    log_every: int | None = None,
    residency: Residency = "auto",
    chunk: int = DEFAULT_CHUNK,
    runs_dir: Path | str = DEFAULT_RUNS_DIR,
    db: Path | str = DEFAULT_DATABASE,
    data_dir: Path | str | None = None,
    offline: bool = False,
) -> RunResult:
    """Run a spec as `frepo run` does, with the options of that name: what is done is skipped, what was stopped goes on.

    `spec` is a TOML file, or what `frepo.load_spec` made of one and of overrides. Progress goes to standard error. An
    interrupt (Jupyter's stop button) ends the run once its state is saved; the same call goes on from there.

    Raises:
        SpecError: the spec or an option is not valid.
        Interrupted: a signal that asks to stop, SIGINT or SIGTERM for one, came; what was computed is saved.
        FrepoError: a stage failed, or nothing could start.
    """
    loaded = spec if isinstance(spec, LoadedSpec) else load_spec(spec)
    options = RuntimeOptions(
        runs_dir=Path(runs_dir),
        database=Path(db),
        data_dir=None if data_dir is None else Path(data_dir),
        checkpoint_every=Cadence.parse(checkpoint_every),
        log_every=log_every,
        residency=residency,
        chunk=chunk,
        offline=offline,
    )
    from frepo.execute import runner

    (run_id,) = runner.run([loaded], options, fresh=fresh)
    rows = tuple(accuracy_rows(Path(db), [run_id]))
    directory = options.runs_dir / loaded.spec.name
    return RunResult(run_id, directory, rows, results_text(Path(db), [run_id]))

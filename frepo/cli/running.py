"""Commands about work in progress and its remains: status, cancel, verify, rm."""

from typing import Annotated

import typer

from frepo.cli.completion import run_names
from frepo.cli.options import AsJson, Database, Only, OptionalSpecFiles, Overrides, RunsDir, SpecFiles
from frepo.cli.specs import experiments
from frepo.errors import FrepoError
from frepo.runtime import DEFAULT_DATABASE, DEFAULT_RUNS_DIR


def status(
    specs: OptionalSpecFiles = None,
    overrides: Overrides = None,
    only: Only = None,
    as_json: AsJson = False,
    runs_dir: RunsDir = DEFAULT_RUNS_DIR,
) -> None:
    """Show which stages of specs, or of all runs, are done, at work, waiting or failed, how far, and their logs."""
    import json

    from frepo.execute.standings import standings_json, standings_of_runs, standings_of_specs, standings_text

    loaded = experiments(specs, overrides, only) if specs else None
    found = standings_of_runs(runs_dir) if loaded is None else standings_of_specs(loaded, runs_dir)
    typer.echo(json.dumps(standings_json(found), indent=1) if as_json else standings_text(found).rstrip("\n"))


def cancel(
    specs: SpecFiles, overrides: Overrides = None, only: Only = None, runs_dir: RunsDir = DEFAULT_RUNS_DIR
) -> None:
    """Stop what works on specs: each process saves its state, and the same `frepo run` goes on from there."""
    from frepo.execute.cancel import cancel as cancel_work

    asked, elsewhere, jobs = cancel_work(experiments(specs, overrides, only), runs_dir)
    for job in jobs:
        typer.echo(f"cancelled {job.where}")
    for holder in asked:
        typer.echo(f"asked {holder.where} to stop")
    for holder in elsewhere:
        typer.echo(f"{holder.where} is at work: cancel it there", err=True)
    if not (asked or elsewhere or jobs):
        typer.echo("nothing is at work")
    if elsewhere:
        raise FrepoError("not all could be asked to stop")


def verify(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME]...",
            help="Names of runs; * and ? stand for characters; all where left out.",
            autocompletion=run_names,
        ),
    ] = None,
    as_json: AsJson = False,
    runs_dir: RunsDir = DEFAULT_RUNS_DIR,
) -> None:
    """Read all files of runs and say which are damaged, and what the remedy costs; nothing is changed."""
    import json

    from frepo.rundir.verify import verify as verify_runs

    found = verify_runs(runs_dir, names or ())
    if as_json:
        faults = [{"path": str(fault.path), "fault": fault.what, "remedy": fault.remedy} for fault in found.faults]
        typer.echo(json.dumps({"runs": found.runs, "stages": found.stages, "faults": faults}, indent=1))
    else:
        for fault in found.faults:
            typer.echo(f"{fault.path} {fault.what}\n  {fault.remedy}")
        looked_at = f"{_counted(found.runs, 'run')}, {_counted(found.stages, 'stage')}"
        typer.echo(looked_at if found.faults else f"{looked_at}: all as it was written")
    if found.faults:
        raise FrepoError(f"{_counted(len(found.faults), 'file')} damaged")


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def rm(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME...",
            help="Names of runs; * and ? stand for characters, in quotes for the shell.",
            show_default=False,
            autocompletion=run_names,
        ),
    ],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go and what would stay.")] = False,
    runs_dir: RunsDir = DEFAULT_RUNS_DIR,
    db: Database = DEFAULT_DATABASE,
) -> None:
    """Remove runs, and the results of stages that no other run needs."""
    from frepo.rundir.removal import plan_removal, remove
    from frepo.store.ingest import ingest

    removal = plan_removal(runs_dir, names)
    verb = "would remove" if dry_run else "removed"
    lines = [f"{verb} {path}" for path in (*removal.runs, *removal.freed)]
    lines += [f"{'would keep' if dry_run else 'kept'} {path}: {run} needs it" for path, run in removal.kept]
    lines.append(f"{removal.size / 1e6:,.1f} MB {'would be ' if dry_run else ''}freed")
    if not dry_run:
        remove(removal)
        if db.exists():
            ingest(db, runs_dir, [path.name for path in removal.runs])
    typer.echo("\n".join(lines))

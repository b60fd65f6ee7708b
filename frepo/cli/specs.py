"""Commands about specs that compute nothing: check, plan, and the schema of a spec."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from frepo.cli.options import AsJson, Chunk, DataDir, Only, Overrides, RunsDir, SpecFile, SpecFiles
from frepo.errors import SpecError
from frepo.runtime import DEFAULT_CHUNK, DEFAULT_RUNS_DIR

if TYPE_CHECKING:
    from frepo.rundir.status import StageOutlook
    from frepo.runtime import RuntimeOptions
    from frepo.spec import LoadedSpec


def experiments(paths: list[Path], overrides: list[str] | None, only: str | None) -> "list[LoadedSpec]":
    """Return the experiments of all files that `only` picks.

    Raises:
        SpecError: files are not valid, each with what is wrong, or `only` picks none.
    """
    loaded, failures = _load_each(paths, overrides)
    if failures:
        raise SpecError("\n".join(failures))
    return [experiment for found in _picked(loaded, only) for experiment in found]


def _load_each(paths: list[Path], overrides: list[str] | None) -> "tuple[list[list[LoadedSpec]], list[str]]":
    """Return the experiments of each valid file, and what is wrong with the others."""
    from frepo.spec import load_specs

    loaded: list[list[LoadedSpec]] = []
    failures: list[str] = []
    for path in paths:
        try:
            loaded.append(load_specs(path, tuple(overrides or ())))
        except SpecError as error:
            failures.append(str(error))
    return loaded, failures


def _picked(loaded: "list[list[LoadedSpec]]", only: str | None) -> "list[list[LoadedSpec]]":
    import difflib
    from fnmatch import fnmatchcase

    if only is None:
        return loaded
    picked = [[entry for entry in found if fnmatchcase(entry.spec.name, only)] for found in loaded]
    if not any(picked):
        names = [entry.spec.name for found in loaded for entry in found]
        near = difflib.get_close_matches(only.replace("*", ""), names, n=3, cutoff=0)
        raise SpecError(
            f"--only {only}: no experiment of {len(names):,} has such a name; the nearest: {', '.join(near)}"
        )
    return [found for found in picked if found]


def check(specs: SpecFiles, overrides: Overrides = None, only: Only = None) -> None:
    """Say whether specs are valid, and what is wrong where."""
    loaded, failures = _load_each(specs, overrides)
    for found in _picked(loaded, only) if loaded else ():
        many = f", {len(found):,} experiment{'s' if len(found) > 1 else ''}" if found[0].sweep else ""
        typer.echo(f"{found[0].path}: ok{many}")
    if failures:
        raise SpecError("\n".join(failures))


def plan(
    spec: SpecFile,
    overrides: Overrides = None,
    only: Only = None,
    cost: Annotated[
        bool,
        typer.Option("--cost", help="Time a few steps here: parameters, operations, memory and time of each stage."),
    ] = False,
    as_json: AsJson = False,
    chunk: Chunk = DEFAULT_CHUNK,
    runs_dir: RunsDir = DEFAULT_RUNS_DIR,
    data_dir: DataDir = None,
) -> None:
    """Show the stages of a spec, which are done, and which fields changed since the last result; or those of a sweep.

    Of a sweep: its axes, its experiments, and how many stages they share. With --cost, stages that differ only in
    their seed or in the images that they train on are timed once.
    """
    from frepo.runtime import RuntimeOptions

    loaded = experiments([spec], overrides, only)
    options = RuntimeOptions(runs_dir=runs_dir, data_dir=data_dir, chunk=chunk)
    show = _plan_one if len(loaded) == 1 else _plan_many
    show(loaded, options, cost=cost, as_json=as_json)


def _plan_one(loaded: "list[LoadedSpec]", options: "RuntimeOptions", *, cost: bool, as_json: bool) -> None:
    import json

    from frepo.plan import compile_plan
    from frepo.rundir.status import outlook

    compiled = compile_plan(loaded[0].spec)
    stages = outlook(compiled, options.runs_dir)
    costs: dict[str, dict[str, object] | None] = {}
    if cost:
        from frepo.execute.estimate import estimate

        costs = estimate(stages, options)
    if as_json:
        rows = [
            {"stage": o.stage.directory, "status": o.status, "changes": o.changes, "identity": o.stage.identity}
            | ({"cost": costs[o.stage.directory]} if cost else {})
            for o in stages
        ]
        typer.echo(json.dumps({"run_id": compiled.run_id, "stages": rows}, indent=1))
        return
    typer.echo(compiled.run_id)
    typer.echo(_stage_table(stages), nl=False)
    if cost:
        from frepo.execute.estimate import estimate_text

        typer.echo(estimate_text(costs), nl=False)


def _plan_many(loaded: "list[LoadedSpec]", options: "RuntimeOptions", *, cost: bool, as_json: bool) -> None:
    from frepo.cli.survey import survey_cost_text, survey_json, survey_text
    from frepo.execute.survey import estimate_survey, survey

    found = survey(loaded, options.runs_dir)
    costs = estimate_survey(found, options) if cost else None
    if as_json:
        typer.echo(survey_json(found, costs))
        return
    typer.echo(survey_text(found), nl=False)
    if costs:
        typer.echo(survey_cost_text(*costs), nl=False)


def _stage_table(stages: "list[StageOutlook]") -> str:
    from frepo.store.text import Rows, format_rows

    rows: list[tuple[str, str, str]] = []
    for entry in stages:
        first, *more = entry.changes or ("",)
        rows.append((entry.stage.directory, entry.status, first))
        rows.extend(("", "", change) for change in more)
    return format_rows(Rows(("stage", "status", "changed since the last result"), tuple(rows)), "table")


def schema() -> None:
    """Print the JSON Schema of a spec, for editors."""
    import json

    from frepo.spec import json_schema

    typer.echo(json.dumps(json_schema(), indent=1))

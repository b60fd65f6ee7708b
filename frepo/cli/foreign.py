"""Commands about other people's distilled images: import, score, and the recipes of the literature."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from frepo.cli import executors
from frepo.cli.completion import spec_files
from frepo.cli.options import AsJson, Database, DataDir, Offline, Overrides, Quiet, RunsDir
from frepo.cli.run import print_results
from frepo.errors import SpecError
from frepo.runtime import DEFAULT_DATABASE, DEFAULT_RUNS_DIR

if TYPE_CHECKING:
    from frepo.exchange.imports.imported import Said
    from frepo.spec.recipes import RecipeName

Pixels = Annotated[bool, typer.Option("--pixels", help="Images are pixels in 0..1, not yet standardised or whitened.")]
Pixels255 = Annotated[bool, typer.Option("--pixels-255", help="The same, of pixels in 0..255.")]
Labels = Annotated[
    Path | None, typer.Option("--labels", metavar="FILE", help="A .pt file of the labels.", show_default=False)
]
Layout = Annotated[
    Literal["nchw", "nhwc"] | None,
    typer.Option("--layout", help="Channels come before height and width, or behind.", show_default=False),
]
Logits = Annotated[
    bool | None, typer.Option("--logits/--no-logits", help="Whether soft labels are logits.", show_default=False)
]


def said(labels: Path | None, pixels: bool, pixels_255: bool, layout: Any, logits: bool | None) -> "Said":
    """Return what the options say of a file.

    Raises:
        SpecError: they contradict each other.
    """
    from frepo.exchange.imports.imported import Said

    if pixels and pixels_255:
        raise SpecError("--pixels and --pixels-255 say different things of the same images: give one of them")
    return Said(labels, 1 if pixels else 255 if pixels_255 else None, layout, logits)


def import_(
    checkpoint: Annotated[
        Path,
        typer.Argument(
            metavar="CHECKPOINT",
            help="A checkpoint, .npz, .safetensors, .pt, or export as these or torch.",
            show_default=False,
        ),
    ],
    spec: Annotated[
        Path,
        typer.Option(
            "--spec", metavar="SPEC", help="What to do with it.", show_default=False, autocompletion=spec_files
        ),
    ],
    overrides: Overrides = None,
    pixels: Pixels = False,
    pixels_255: Pixels255 = False,
    labels: Labels = None,
    layout: Layout = None,
    logits: Logits = None,
    offline: Offline = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
    runs_dir: RunsDir = DEFAULT_RUNS_DIR,
    db: Database = DEFAULT_DATABASE,
    data_dir: DataDir = None,
) -> None:
    """Take somebody else's distilled images in place of those that a spec would learn, and run the rest of it."""
    from frepo.exchange.imports.imported import imported
    from frepo.execute import runner
    from frepo.progress import silenced
    from frepo.runtime import RuntimeOptions

    about = said(labels, pixels, pixels_255, layout, logits)
    options = RuntimeOptions(runs_dir=runs_dir, database=db, data_dir=data_dir, offline=offline)
    with silenced(quiet):
        loaded = imported(checkpoint, spec, tuple(overrides or ()), options, about)
        run_ids = runner.run([loaded], options)
    print_results(db, run_ids, as_json)


def recipes() -> None:
    """List the recipes of the literature: what `recipe = NAME` sets, for which network, and what it cannot say."""
    from frepo.spec.fields import toml_text
    from frepo.spec.recipes import RECIPES

    def shown(fields: Mapping[str, Any]) -> str:
        return ", ".join(f"{name} = {toml_text(value)}" for name, value in fields.items())

    for name, known in RECIPES.items():
        typer.echo(f"{name}: {known.source}")
        typer.echo(f"  [architecture] {shown(known.architecture)}")
        typer.echo(f"  sets {shown(known.fields)}")
        if known.differences:
            typer.echo(f"  {known.differences}")


def score(
    checkpoint: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="As for `frepo import`: .pt, .npz, a checkpoint, ...", show_default=False),
    ],
    dataset: Annotated[
        str, typer.Option("--dataset", metavar="NAME", help="What it was distilled from.", show_default=False)
    ],
    recipe: Annotated[
        str | None,
        typer.Option(
            "--recipe", metavar="NAME", help="Its authors' recipe; `frepo recipes` lists them.", show_default=False
        ),
    ] = None,
    common: Annotated[
        str, typer.Option("--common", metavar="NAME", help="The recipe under which sets are compared.")
    ] = "dsa",
    overrides: Overrides = None,
    fair_scores: Annotated[
        bool,
        typer.Option("--fair-scores/--no-fair-scores", help="The scores of DD-Ranking, which take real images too."),
    ] = True,
    pixels: Pixels = False,
    pixels_255: Pixels255 = False,
    labels: Labels = None,
    layout: Layout = None,
    logits: Logits = None,
    jobs: executors.Jobs = 1,
    offline: Offline = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
    runs_dir: RunsDir = DEFAULT_RUNS_DIR,
    db: Database = DEFAULT_DATABASE,
    data_dir: DataDir = None,
) -> None:
    """Test a distilled set under its own and a common recipe, and find what makes the difference."""
    from frepo.exchange.imports.scoring import scored, wanted
    from frepo.execute import runner
    from frepo.progress import silenced
    from frepo.runtime import RuntimeOptions
    from frepo.store.scored import score_json, score_text
    from frepo.store.text import json_text

    own, shared = _known(recipe, "--recipe") if recipe else None, _known(common, "--common")
    about = said(labels, pixels, pixels_255, layout, logits)
    choice = executors.Choice(jobs=jobs)
    options = RuntimeOptions(runs_dir=runs_dir, database=db, data_dir=data_dir, offline=offline)
    asked = wanted(checkpoint, dataset, own, shared, overrides or (), fair_scores=fair_scores)
    with silenced(quiet):
        run_ids = runner.run(scored(checkpoint, asked, options, about), options, executor=choice.executor())
    found = score_json(db, run_ids)
    typer.echo(json_text(found) if as_json else score_text(found, own, shared), nl=False)


def _known(name: str, option: str) -> "RecipeName":
    from frepo.errors import near_text
    from frepo.spec.recipes import RECIPES

    for known in RECIPES:
        if known == name:
            return known
    raise SpecError(f"{option} {name}: no such recipe{near_text(name, RECIPES)}; known are {', '.join(RECIPES)}")

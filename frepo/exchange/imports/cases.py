"""Specs that score a stranger's set: under its own recipe, under a common one, and under recipes between the two."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from frepo.spec import LoadedSpec, made_specs
from frepo.spec.fields import toml_text
from frepo.spec.recipes import RECIPES, RecipeName

OWN, COMMON, NETWORK, WHITENING = "own", "common", "network", "whitening"
ASPECTS: dict[str, tuple[str, ...]] = {
    "labels": ("labels", "loss", "temperature"),
    "augmentation": ("augmentation", "augmentation_mode", "augmentation_strategy", "mirrored", "mix", "mix_alpha"),
    "training": (
        *("optimizer", "momentum", "weight_decay", "decay", "learning_rate", "schedule", "warmup_steps"),
        *("steps", "epochs", "batch_size"),
    ),
}
"""What recipes differ in, besides network and whitening: name of a case -> its fields."""
STANDARDIZED: dict[str, Any] = {"type": "standardize"}

Case = dict[str, Any]
"""Fields that change together, by dotted name."""


@dataclass(frozen=True)
class Wanted:
    """What a set is scored with.

    Attributes:
        name: of the sweep.
        dataset: the table `[dataset]`; its preprocessing is the one that the set was made with.
        architecture: of every network, in place of what the recipe's network has, for example the depth.
        fields: of every `[[application]]`, in place of those of the recipe, for example `num_models`.
        own: the recipe of its authors; None where it is scored under the common one only.
        common: the recipe under which all sets are compared.
        fair_scores: whether the scores of DD-Ranking are computed too, for which networks are trained on all images.
    """

    name: str
    dataset: Mapping[str, Any]
    architecture: Mapping[str, Any]
    fields: Mapping[str, Any]
    own: RecipeName | None
    common: RecipeName
    fair_scores: bool


def scoring_specs(wanted: Wanted, ipc: int, own: str, standardized: str) -> list[LoadedSpec]:
    """Return the specs of a set of `ipc` images per class that is kept under two digests.

    `own` is that of its images as they are, `standardized` that of the same pixels, standardised.

    Raises:
        SpecError: one of them is not valid.
    """
    lines = [f"name = {toml_text(wanted.name)}", "", "[sweep]"]
    for label, case in _cases(wanted, ipc, own, standardized).items():
        lines += ["", "[[sweep.case]]", f"label = {toml_text(label)}"]
        lines += [f"{toml_text(name)} = {toml_text(value)}" for name, value in case.items()]
    return made_specs(Path(f"{wanted.name}.toml"), "\n".join(lines) + "\n")


def _cases(wanted: Wanted, ipc: int, own: str, standardized: str) -> dict[str, Case]:
    def case(network: RecipeName, application: Case, *, plain: bool = False, **more: Case) -> Case:
        digest = standardized if plain else own
        preprocess = STANDARDIZED if plain else wanted.dataset["preprocess"]
        return {
            "dataset": {**wanted.dataset, "preprocess": preprocess},
            "distill": {"method": "imported", "ipc": ipc, "sha256": digest},
            "architecture": {**RECIPES[network].architecture, **wanted.architecture},
            "application": [{"type": "evaluate", **application, **wanted.fields}, *more.values()],
        }

    compared = {"baselines": ["random", "herding"]}
    fair = {"fair": {"type": "fair_scores", "recipe": wanted.common, **wanted.fields}} if wanted.fair_scores else {}
    whitened = wanted.dataset["preprocess"] != STANDARDIZED
    common = {"recipe": wanted.common, **compared}
    cases = {COMMON: case(wanted.common, common, plain=whitened and wanted.own is not None, **fair)}
    if wanted.own is None:
        return cases
    found = {OWN: case(wanted.own, {"recipe": wanted.own, **compared})}
    if RECIPES[wanted.own].architecture != RECIPES[wanted.common].architecture:
        normalization = RECIPES[wanted.common].architecture["normalization"]
        found[NETWORK] = case(wanted.common, {"recipe": wanted.own, "normalization": normalization})
    if whitened:
        found[WHITENING] = case(wanted.own, {"recipe": wanted.own}, plain=True)
    for aspect, application in _switched(wanted.own, wanted.common):
        found[aspect] = case(wanted.own, application)
    return found | cases


def _switched(own: RecipeName, common: RecipeName) -> Iterator[tuple[str, Case]]:
    """Yield each aspect in which the recipes differ, with the fields of `own` but for this aspect, of `common`."""
    mine, other = RECIPES[own].fields, RECIPES[common].fields
    for aspect, names in ASPECTS.items():
        switched = {name: other[name] for name in names if name in other}
        if switched != {name: mine[name] for name in names if name in mine}:
            yield aspect, {**{name: value for name, value in mine.items() if name not in names}, **switched}

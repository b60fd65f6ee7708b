"""From a stranger's file to the specs that score it."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from frepo.data.load import load_dataset
from frepo.data.preprocess import FittedPreprocess
from frepo.errors import SpecError
from frepo.exchange.imports.cases import STANDARDIZED, Wanted, scoring_specs
from frepo.exchange.imports.imported import Said, taken
from frepo.methods.imported import keep
from frepo.runtime import RuntimeOptions
from frepo.signals import stop_on_signals
from frepo.spec import Dataset, LoadedSpec, read_override
from frepo.spec.fields import placed
from frepo.spec.recipe import is_never_mirrored
from frepo.spec.recipes import RecipeName

MOST_OF_NAME = 60
WHITENED: dict[RecipeName, dict[str, Any]] = {
    "frepo": {"type": "zca", "reg": 0.1},
    "rcig": {"type": "zca", "reg": 0.1},
    "mtt": {"type": "zca", "eps": 0.1},
    "datm": {"type": "zca", "eps": 0.1},
}
"""The preprocessing in which sets are made, but those of digits and clothes; of other recipes they are standardised."""
TABLES = ("dataset", "architecture", "application")


def wanted(
    checkpoint: Path,
    dataset: str,
    own: RecipeName | None,
    common: RecipeName,
    settings: Sequence[str],
    *,
    fair_scores: bool,
) -> Wanted:
    """Return what is wanted, with `settings` like `application.num_models=3` over what recipes and data set suggest.

    Raises:
        SpecError: a setting is none, or not of these tables.
    """
    whitened = WHITENED.get(own, STANDARDIZED) if own and not is_never_mirrored(dataset) else STANDARDIZED
    tables: dict[str, dict[str, Any]] = {
        "dataset": {"name": dataset, "preprocess": whitened},
        "architecture": {},
        "application": {},
    }
    for setting in settings:
        path, value = read_override(setting)
        if path[0] not in TABLES or len(path) < 2:
            raise SpecError(
                f"--set {setting}: a score has settings of {', '.join(TABLES)}: --set application.steps=500"
            )
        tables = placed(tables, path, value)
    stem = re.sub(r"[^A-Za-z0-9._\-]", "-", checkpoint.name if checkpoint.is_dir() else checkpoint.stem)
    return Wanted(
        f"score-{stem}"[:MOST_OF_NAME],
        tables["dataset"],
        tables["architecture"],
        tables["application"],
        own,
        common,
        fair_scores,
    )


def scored(checkpoint: Path, wanted: Wanted, options: RuntimeOptions, said: Said) -> list[LoadedSpec]:
    """Return the specs that score the distilled data of `checkpoint`, which are kept.

    Raises:
        SpecError: a spec is not valid.
        FrepoError: the file is damaged, hostile or does not fit the data set, or that is not there.
        Interrupted: a signal came while the data set was prepared.
    """
    specs = scoring_specs(wanted, 1, "0" * 64, "0" * 64)  # wrong settings are refused at once
    table, plain_table = specs[0].spec.dataset, specs[-1].spec.dataset
    data = taken(checkpoint, table, None, options, said)
    own = plain = keep(*data, options.cache_dir)
    if wanted.dataset["preprocess"] != STANDARDIZED:
        with stop_on_signals():
            pixels = _fitted(table, options).invert(data.images)
            images = _fitted(plain_table, options).apply(pixels)
        plain = keep(images, data.labels, options.cache_dir)
    return scoring_specs(wanted, len(data.images) // data.labels.shape[1], own, plain)


def _fitted(table: Dataset, options: RuntimeOptions) -> FittedPreprocess:
    return load_dataset(table, options.tfds_dir, options.cache_dir).preprocess  # pyright: ignore[reportArgumentType] (hashable)

"""The texts of exports: READMEs and the PyTorch script."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from pydantic import TypeAdapter

import frepo
from frepo.exchange.export import DataFormat, MotionFormat
from frepo.exchange.export.exported import SAFETENSORS, Exported
from frepo.exchange.export.licence import source_of
from frepo.exchange.export.names import label_names
from frepo.jinja import templates
from frepo.networks import augmentation as augment
from frepo.networks import siamese
from frepo.networks.layers import margin
from frepo.spec import Architecture, Conv, DcConv, Recipe, method_tables

WARPS = ("crop", "rotate", "translate", "scale")
PAPER_DEPTHS = ((32, 3), (64, 4))
"""(at most so many pixels a side, depth of the paper's network)."""
MOST_DEPTH = 5


def readme(exported: Exported, kind: DataFormat) -> str:
    """Return how an export is used, in Markdown."""
    distill, dataset = (exported.provenance["spec"][table] for table in ("distill", "dataset"))
    outside = np.mean((exported.pixels < 0) | (exported.pixels > 1))
    return (
        templates(html=False)
        .get_template("export_card.md.j2" if kind == "hf" else "export_readme.md.j2")
        .render(
            kind=kind,
            e=exported,
            accuracy=exported.accuracy,
            architecture=exported.recipe["architecture"],
            network=script_network(exported),
            outside=f"{100 * outside:.1f}%",
            dataset=dataset,
            source=source_of(dataset["name"]),
            label_names=label_names(exported.class_names),
            size_category=size_category(len(exported.images)),
            quoted=quoted,
            distill=distill,
            method=method_tables()[distill["method"]],
            version=frepo.__version__,
            **_common(exported),
        )
    )


def torch_script(exported: Exported) -> str:
    """Return a program that trains networks on an export in PyTorch, by the exported recipe.

    Raises:
        pydantic.ValidationError: the recipe is none: nothing else may get into a program.
    """
    recipe = Recipe.model_validate({key: exported.recipe[key] for key in Recipe.model_fields})
    return (
        templates(html=False)
        .get_template("export_train.py.j2")
        .render(
            network=script_network(exported),
            padding=margin(exported.images.shape[3]),
            decay=bool(recipe.weight_decay),
            coupled=recipe.decay == "coupled",
            warps=any(name in WARPS for name in recipe.operations),
            needs_math=_needs_math(recipe),
            whitened=exported.preprocess.whiten is not None,
            block=exported.preprocess.block,
            **_common(exported),
        )
    )


def size_category(count: int) -> str:
    """Return the Hub's name for a number of images: a range between powers of ten from a thousand on."""
    if count < 1000:
        return "n<1K"
    low = len(str(count)) - 1
    names = ("1K", "10K", "100K", "1M", "10M", "100M", "1B")
    return f"{names[low - 3]}<n<{names[low - 2]}"


def quoted(text: str) -> str:
    """Return a text as YAML reads it back between double quotes, whatever characters it has."""
    return '"' + "".join(c if c.isprintable() and c not in '"\\<>&' else f"\\U{ord(c):08x}" for c in text) + '"'


def evolution_readme(
    provenance: dict[str, Any], kind: MotionFormat, steps: Sequence[int], size: tuple[int, int]
) -> str:
    """Return what an animation shows, in Markdown; `steps` of the frames, and width and height in pixels."""
    template = templates(html=False).get_template("export_evolution.md.j2")
    return template.render(kind=kind, provenance=provenance, steps=steps, size=size, version=frepo.__version__)


def script_network(exported: Exported) -> Conv | DcConv:
    """Return the network of the PyTorch script: the recipe's if it is `conv` or `dcconv`, or the paper's, 128 wide."""
    network = TypeAdapter(Architecture).validate_python(exported.recipe["architecture"])
    if isinstance(network, Conv | DcConv):
        return network
    _, height, width, channels = exported.images.shape
    side = min(height, width)
    usual = next((depth for most, depth in PAPER_DEPTHS if side <= most), MOST_DEPTH)
    room = (side + 2 * margin(channels)).bit_length() - 1
    return Conv(depth=min(usual, room), normalization=network.normalization)


def _needs_math(recipe: Recipe) -> bool:
    zooms = "crop" in recipe.operations and recipe.augmentation_strategy == "frepo"
    return recipe.schedule == "cosine" or zooms or "rotate" in recipe.operations or recipe.mix == "cutmix"


def _common(exported: Exported) -> dict[str, Any]:
    count, height, width, channels = exported.images.shape
    return {
        "count": count,
        "height": height,
        "width": width,
        "channels": channels,
        "classes": len(exported.class_names),
        "recipe": exported.recipe,
        "examples": count * (2 if exported.recipe["mirrored"] else 1),
        "augment": augment,
        "siamese": siamese,
        "data_file": SAFETENSORS,
    }

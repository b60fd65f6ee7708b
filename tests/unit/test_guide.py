"""`specs/from_flags.md`: every flag of the paper's scripts, and nothing here that does not exist."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tomli
import typer.main

from frepo.cli import app
from frepo.spec import ExperimentSpec, json_schema

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "specs" / "from_flags.md").read_text()

COMMON = "dataset_name data_path zca_path arch width depth normalization random_seed"
DISTILL = (
    f"{COMMON} train_log train_img save_image learn_label num_prototypes_per_class num_train_steps max_online_updates "
    "num_nn_state"
)
EVALUATE = (
    f"{COMMON} ckpt_dir ckpt_name eval_batch_size pooling use_chunk chunk_size optimizer learning_rate weight_decay "
    "loss temperature num_eval"
)
FLAGS = {
    "distill": DISTILL,
    "distill_torch": DISTILL,
    "distill_cl": f"{DISTILL} num_online_eval_updates cl_steps cl_step_idx cl_seed num_eval",
    "mia": f"{DISTILL} res_dir num_online_eval_updates chunk_size chunk_idx",
    "eval": f"{EVALUATE} res_dir",
    "eval_cl": f"{EVALUATE} use_cl cl_steps cl_step_idx cl_seed num_online_eval_updates",
}
"""Arguments of `main` of each script, which are its flags."""


def rows() -> Iterator[list[str]]:
    """Yield the cells of every row of the guide's tables, headings left out."""
    for line in GUIDE.splitlines():
        if line.startswith("| ") and not line.startswith(("| flag |", "| there |")):
            yield [cell.strip() for cell in line.strip("|").split(" | ")]


def fields(node: dict[str, Any], definitions: dict[str, Any], path: str = "") -> Iterator[str]:
    """Yield the path of every field of the spec, with those of all kinds of a table."""
    for name, field in node.get("properties", {}).items():
        yield path + name
        for kind in set(re.findall(r"#/\$defs/(\w+)", str(field))):
            yield from fields(definitions[kind], definitions, f"{path}{name}.")


def options() -> set[str]:
    commands = [*typer.main.get_command(app).commands.values()]
    return {name for command in commands for parameter in command.params for name in parameter.opts}


@pytest.mark.parametrize("script", FLAGS)
def test_every_flag_has_a_row(script):
    shown = {flag for cells in rows() for flag in re.findall(r"`--(\w+)`", cells[0])}
    missing = set(FLAGS[script].split()) - shown
    assert not missing


def test_no_row_is_of_a_flag_that_no_script_has():
    shown = {flag for cells in rows() for flag in re.findall(r"`--(\w+)`", cells[0])}
    assert shown == {flag for flags in FLAGS.values() for flag in flags.split()}


def test_every_field_option_and_command_that_a_row_names_exists():
    schema = json_schema()
    known = set(fields(schema, schema["$defs"]))
    commands = set(typer.main.get_command(app).commands)
    seen = 0
    for cells in rows():
        here = cells[-2]
        for span in re.findall(r"`([^`]+)`", here):
            seen += 1
            if span.startswith("--"):
                assert span in options(), span
            elif span.startswith("frepo "):
                assert span.split()[1] in commands, span
            else:
                assert span in known, span
        assert here == "none" or "`" in here, cells
    assert seen > 40
    text = "".join(GUIDE.split("```")[::2])
    for span in re.findall(r"`((?:dataset|architecture|distill|pool|application)\.[a-z_.]+)`", text):
        assert span in known or span.endswith(".py"), span


def test_the_spec_that_the_guide_shows_is_that_of_the_paper():
    (shown,) = re.findall(r"```toml\n(.*?)```", GUIDE, flags=re.DOTALL)
    paper = tomli.loads((ROOT / "specs" / "paper" / "cifar100_ipc1.toml").read_text())
    assert ExperimentSpec.model_validate(tomli.loads(shown)) == ExperimentSpec.model_validate(paper)


def test_every_file_that_the_guide_names_exists():
    for path in re.findall(r"\b(?:specs|docs)/[\w./]+\w", GUIDE):
        assert (ROOT / path).exists(), path
    for path in re.findall(r"\]\((?!http)([^)]+)\)", GUIDE):
        assert (ROOT / "specs" / path).exists(), path

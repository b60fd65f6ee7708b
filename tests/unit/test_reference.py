"""`specs/reference.md` is what the code says."""

import subprocess
import sys
from pathlib import Path

import typer.main

from frepo.cli import app
from frepo.spec import json_schema

ROOT = Path(__file__).parents[2]
REFERENCE = (ROOT / "specs" / "reference.md").read_text()


def test_the_reference_is_current():
    done = subprocess.run(
        [sys.executable, ROOT / "tests" / "reference.py"], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == REFERENCE, "run: python tests/reference.py > specs/reference.md"


def test_every_command_option_and_field_is_in_it():
    for name, command in typer.main.get_command(app).commands.items():
        if not hasattr(command, "commands") and not command.hidden:
            (section,) = [part for part in REFERENCE.split("\n### ") if part.startswith(f"`frepo {name}`")]
            options = {
                option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)
            }
            assert not [option for option in options if option.startswith("--") and option not in section]
    for definition in (json_schema(), *json_schema()["$defs"].values()):
        for field, entry in definition["properties"].items():
            assert f"| `{field}` |" in REFERENCE, field
            assert " ".join(entry["description"].split()).replace("|", "\\|") in REFERENCE, field

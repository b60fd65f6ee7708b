"""The README shows what a newcomer types, and it is current."""

import re
from pathlib import Path

import pytest
import typer.main

from frepo.cli import app
from frepo.store.connect import writing

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
TOML_BLOCKS = re.findall(r"```toml\n(.*?)```", README, flags=re.DOTALL)


def test_the_two_commands_stand_in_the_readme():
    assert "pip install . && frepo run specs/quickstart.toml && frepo report" in README
    assert "pip install '.[test]' && pytest" in README


@pytest.mark.parametrize("command", sorted(typer.main.get_command(app).commands))
def test_every_command_is_named_in_the_readme_and_has_help(workplace, command):
    assert f"frepo {command}" in README
    out, _ = workplace.frepo(command, "--help")
    assert "Usage:" in out


def test_every_path_the_readme_names_exists():
    named = set(re.findall(r"\b(?:specs|reports|tests)/[\w./]+\b", README)) - {"reports/report.html"}
    assert named
    for path in named:
        assert (ROOT / path).exists(), path


def test_the_spec_in_the_readme_is_the_quickstart():
    shown = TOML_BLOCKS[0]
    lines = [line for line in (ROOT / "specs" / "quickstart.toml").read_text().splitlines() if not line.startswith("#")]
    assert shown.strip() == "\n".join(lines).strip()


def test_the_other_toml_in_the_readme_is_valid(workplace):
    assert len(TOML_BLOCKS) > 1
    for block in TOML_BLOCKS[1:]:
        path = workplace.path / "shown.toml"
        path.write_text(f'name = "shown"\n{block}[distill]\nmethod = "random"\nipc = 1\n')
        workplace.frepo("check", path)


def test_the_readme_names_every_table_and_view(tmp_path):
    with writing(tmp_path / "x.duckdb") as connection:
        names = connection.execute(
            "SELECT table_name FROM duckdb_tables() UNION SELECT view_name FROM duckdb_views() WHERE NOT internal"
        ).fetchall()
    for (name,) in names:
        assert name == "frepo_schema" or f"`{name}`" in README


@pytest.mark.parametrize("path", sorted((ROOT / "specs").rglob("*.toml")), ids=lambda path: path.stem)
def test_every_spec_says_how_to_run_it_and_what_to_expect(path):
    comment = [line for line in path.read_text().splitlines() if line.startswith("#")]
    text = " ".join(comment)
    assert f"frepo run {path.relative_to(ROOT)}" in text
    assert "Measured" in text or "Not measured here. The paper" in text

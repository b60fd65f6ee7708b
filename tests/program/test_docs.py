"""The README shows what a newcomer types, the documents beside it say the rest, and all of them are current."""

import re
from pathlib import Path

import pytest
import tomli
import typer.main

import frepo
from frepo.cli import app
from frepo.errors import SpecError
from frepo.execute.slurm.settings import load_settings
from frepo.store.connect import writing

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
SQL = ROOT / "reports" / "sql.md"
SLURM = ROOT / "specs" / "slurm.md"
PAGES = (README, *sorted((ROOT / "specs").glob("*.md")), SQL)
WRITTEN = (README, *(ROOT / "specs" / f"{name}.md" for name in ("guide", "applications")))
"""The pages that a user reads through; the reference and the recipes are looked up."""
TEXT = {page: page.read_text() for page in PAGES}
PROSE = "\n".join(TEXT[page] for page in WRITTEN)

MADE_BY_RUNNING = {"reports/report.html"}
PATH = re.compile(r"(?<![\w/.-])(?:(?:specs|reports|tests|templates|frepo)/|\.ci/|\.github/)[\w./-]*\w")

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def blocks(text, language):
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)


def anchors(page):
    """Return what a link may name behind `#`, as GitHub makes it of headings."""
    headings = re.findall(
        r"^#+ (.*)$", re.sub(r"^```.*?^```", "", TEXT[page], flags=re.DOTALL | re.MULTILINE), re.MULTILINE
    )
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_two_commands_stand_in_the_readme():
    assert "pip install . && frepo run specs/quickstart.toml && frepo report" in TEXT[README]


def test_how_to_test_stands_where_contributors_read():
    assert "pip install -e '.[test,lint]' && pytest" in TEXT[ROOT / "specs" / "extending.md"]


COMMANDS = typer.main.get_command(app).commands


@pytest.mark.parametrize("command", sorted(name for name, command in COMMANDS.items() if not command.hidden))
def test_every_command_is_explained_and_has_help(workplace, command):
    assert f"frepo {command}" in PROSE
    out, _ = workplace.frepo(command, "--help")
    assert "Usage:" in out


@each_page
def test_every_path_that_is_named_exists(page):
    for path in set(PATH.findall(TEXT[page])) - MADE_BY_RUNNING:
        named = path.partition("/NAME")[0]  # which stands for one that does not exist yet
        assert (ROOT / named).exists(), path


@each_page
def test_every_link_leads_somewhere(page):
    prose = re.sub(r"^```.*?^```", "", TEXT[page], flags=re.DOTALL | re.MULTILINE)
    for link in re.findall(r"\]\((?!https?:)([^)\s]+)\)", prose):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_the_readme_leads_to_every_page():
    for page in PAGES[1:]:
        assert f"({page.relative_to(ROOT)})" in TEXT[README]


def test_the_pages_are_part_of_a_source_distribution():
    project = tomli.loads((ROOT / "pyproject.toml").read_text())
    included = project["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]
    for page in PAGES:
        assert any(page.is_relative_to(ROOT / entry) for entry in included), page


def test_the_spec_in_the_readme_is_the_quickstart():
    (shown,) = blocks(TEXT[README], "toml")
    lines = [line for line in (ROOT / "specs" / "quickstart.toml").read_text().splitlines() if not line.startswith("#")]
    assert shown.strip() == "\n".join(lines).strip()


def test_the_mistakes_in_the_readme_are_reported_like_that(tmp_path, monkeypatch):
    (expected,) = re.findall(r"\$ frepo check my.toml\n(.*?)```", TEXT[README], flags=re.DOTALL)
    (shown,) = blocks(TEXT[README], "toml")
    monkeypatch.chdir(tmp_path)
    Path("my.toml").write_text(shown.replace("width", "widht").replace("ipc = 1", "ipc = 0"))
    with pytest.raises(SpecError) as caught:
        frepo.load_spec("my.toml")
    assert str(caught.value).strip() == expected.strip()


@pytest.mark.parametrize("page", [page for page in PAGES if page != SLURM], ids=lambda page: page.name)
def test_every_spec_that_is_shown_is_valid(page, tmp_path):
    for block in blocks(TEXT[page], "toml"):
        named = "" if block.startswith("name = ") else 'name = "shown"\n'
        distilled = "" if "[distill]" in block else '[distill]\nmethod = "random"\nipc = 1\n'
        (tmp_path / "shown.toml").write_text(named + block + distilled)
        frepo.load_specs(tmp_path / "shown.toml")


def test_the_settings_of_a_cluster_that_are_shown_are_valid(tmp_path):
    (block,) = blocks(TEXT[SLURM], "toml")
    (tmp_path / "slurm.toml").write_text(block)
    assert load_settings(tmp_path / "slurm.toml").gpus == 1


def test_the_pages_show_specs():
    for page in WRITTEN:
        assert blocks(TEXT[page], "toml"), page


def test_every_table_and_view_is_explained(tmp_path):
    with writing(tmp_path / "x.duckdb") as connection:
        names = connection.execute(
            "SELECT table_name FROM duckdb_tables() UNION SELECT view_name FROM duckdb_views() WHERE NOT internal"
        ).fetchall()
    for (name,) in names:
        assert name == "frepo_schema" or f"`{name}`" in PROSE


@pytest.mark.parametrize("page", WRITTEN[:2], ids=lambda page: page.name)
def test_the_fingerprints_that_are_shown_are_todays(page):
    plans = [
        frepo.compile_plan(frepo.load_spec(ROOT / "specs" / path, overrides).spec)
        for path, overrides in (
            ("quickstart.toml", []),
            ("quickstart.toml", ["application.0.num_models=10"]),
            ("quickstart.toml", ["seed=2", "name=quickstart-seed2"]),
            ("quickstart.toml", ["seed=2", "name=quickstart-short", "distill.steps=100"]),
            ("cpu/cifar10_ipc10.toml", []),
        )
    ]
    today = {name for plan in plans for name in (plan.run_id, *(stage.directory for stage in plan.stages))}
    shown = {found[0] for found in re.finditer(r"\b[a-z][\w-]*-[0-9a-f]{8}\b", TEXT[page])}
    assert shown
    assert shown <= today, f"not of today: {shown - today}; of today: {sorted(today)}"


def test_the_supported_pythons_are_those_that_are_tested():
    project = tomli.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["requires-python"] == ">=3.11,<3.14"
    assert "Python 3.11 to 3.13" in TEXT[README]
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    assert 'python: ["3.11", "3.12", "3.13"]' in workflow
    assert "run: .ci/run" in workflow


@pytest.mark.parametrize("path", sorted((ROOT / "specs").rglob("*.toml")), ids=lambda path: path.stem)
def test_every_spec_says_how_to_run_it_and_what_to_expect(path):
    comment = [line for line in path.read_text().splitlines() if line.startswith("#")]
    text = " ".join(comment)
    assert f"frepo run {path.relative_to(ROOT)}" in text
    assert "Measured" in text or "Not measured here. The paper" in text

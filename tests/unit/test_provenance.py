"""What is recorded of the code that computes, and of the repository that a spec lies in."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import frepo
from frepo.rundir.provenance import code, git_state, provenance
from frepo.runtime import RuntimeOptions


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A repository of one commit with a spec in it, which is the working directory."""
    root = tmp_path / "mine"
    (root / "specs").mkdir(parents=True)
    (root / "specs" / "some.toml").write_text("name = 'some'\n")
    for arguments in (("init", "-q"), ("add", "."), ("commit", "-q", "-m", "start")):
        git(root, *arguments)
    monkeypatch.chdir(root)
    return root


def git(root: Path, *arguments: str) -> str:
    who = ("-c", "user.name=a", "-c", "user.email=a@b.c")
    return subprocess.run(["git", "-C", root, *who, *arguments], check=True, capture_output=True, text=True).stdout


def test_what_frepo_writes_does_not_make_the_repository_of_a_spec_dirty(repository):
    options = RuntimeOptions(runs_dir=Path("out/runs [1]"), database=Path("out/some*.duckdb"))
    for path in ("out/runs [1]/some/stage.json", "out/some*.duckdb", "out/some*.duckdb.wal", "reports/some.html"):
        (repository / path).parent.mkdir(parents=True, exist_ok=True)
        (repository / path).write_text("written by frepo")
    spec = repository / "specs" / "some.toml"
    found = provenance(spec, options)
    assert found["git"] == {"commit": git(repository, "rev-parse", "HEAD").strip(), "dirty": False}
    (repository / "out" / "something.py").touch()
    assert provenance(spec, options)["git"]["dirty"] is True
    (repository / "out" / "something.py").unlink()
    spec.write_text("name = 'other'\n")
    assert provenance(spec, options)["git"]["dirty"] is True


def test_runs_outside_of_the_repository_or_all_of_it_are_no_paths_to_ignore(repository, tmp_path):
    (repository / "new.py").touch()
    for runs_dir in (tmp_path / "runs", repository):
        found = provenance(repository / "specs" / "some.toml", RuntimeOptions(runs_dir=runs_dir))
        assert found["git"]["dirty"] is True


def test_outside_of_a_repository_there_is_no_commit(tmp_path):
    assert git_state(tmp_path) is None


CODE = "import json, frepo.rundir.provenance; print(json.dumps(frepo.rundir.provenance.code()))"


def code_of(package: Path) -> dict:
    """Return what a copy of frepo says of itself."""
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(package.parent)!r}); {CODE}"]
    text = subprocess.run(
        command, check=True, capture_output=True, text=True, env={"PYTHONDONTWRITEBYTECODE": "1"}
    ).stdout
    return json.loads(text)


def test_the_code_is_known_by_its_files_however_it_is_installed(repository):
    assert re.fullmatch(r"[0-9a-f]{64}", code()["sha256"])
    package = repository / "frepo"
    shutil.copytree(Path(frepo.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    untracked = code_of(package)
    assert untracked == {"sha256": code()["sha256"], "commit": None, "dirty": None}
    git(repository, "add", ".")
    git(repository, "commit", "-q", "-m", "code")
    (repository / "notes.md").touch()  # no part of the code
    tracked = code_of(package)
    assert tracked == {**untracked, "commit": git(repository, "rev-parse", "HEAD").strip(), "dirty": False}
    with (package / "losses.py").open("a") as file:
        file.write("# another line\n")
    changed = code_of(package)
    assert changed["dirty"] is True
    assert changed["sha256"] != tracked["sha256"]

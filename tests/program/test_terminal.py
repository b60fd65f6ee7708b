"""What stands on the terminal: help with examples, completion, results for programs, a live bar, two runs compared."""

import json
import os
import pty
import re
import shlex
import subprocess
import sys

import pytest
import typer.main

from frepo.cli import app

ROOT = typer.main.get_command(app)
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def all_commands(group=ROOT, path=()):
    """Yield (words, command) of every command, also of those below others."""
    for name, command in sorted(group.commands.items()):
        if hasattr(command, "commands"):
            yield from all_commands(command, (*path, name))
        else:
            yield (*path, name), command


COMMANDS = {" ".join(words): command for words, command in all_commands()}


def parsed(line):
    """Return the command that a command line calls; fails where it names what does not exist."""
    words = shlex.split(line.partition(" > ")[0])[1:]
    context = ROOT.make_context("frepo", words)
    command, path = ROOT, []
    rest = [*context._protected_args, *context.args]
    while hasattr(command, "commands"):
        name, command, rest = command.resolve_command(context, rest)
        path.append(name)
        context = command.make_context(name, rest, parent=context)
        rest = [*context._protected_args, *context.args] if hasattr(command, "commands") else []
    return " ".join(path)


@pytest.mark.parametrize("name", sorted(name for name, command in COMMANDS.items() if not command.hidden))
def test_every_command_has_an_example_that_parses(name):
    lines = [line.strip() for line in (COMMANDS[name].epilog or "").splitlines()]
    examples = [line for line in lines if line.startswith("frepo ")]
    assert examples
    for line in examples:
        assert parsed(line) == name


def test_an_example_with_an_option_that_does_not_exist_would_be_found():
    with pytest.raises(Exception, match="No such option"):
        parsed("frepo run x.toml --quite")


def test_examples_stand_in_the_help_on_lines_of_their_own(workplace):
    assert "\n    frepo plan specs/cpu/cifar10_ipc10.toml --cost\n" in workplace.frepo("plan", "--help")[0]


EVALUATION = 'type = "evaluate"\nnum_models = 2\nsteps = 40\nwarmup_steps = 10\naugmentation = []'
RANDOM = {"pool": None, "application": EVALUATION}


@pytest.fixture(scope="module")
def one(make_workplace, commands_compile_quickly):
    """Return where a run has been, its results as JSON, and what was said meanwhile."""
    workplace = make_workplace("terminal")
    spec = workplace.spec("one", distill='method = "random"\nipc = 1', **RANDOM)
    return workplace, *workplace.frepo("run", spec, "--quiet", "--json", "--tensorboard")


def test_quiet_says_nothing_and_json_gives_the_rows_of_the_database(one):
    workplace, out, err = one
    assert err == ""
    (run,) = json.loads(out)
    assert set(run) == {"run_id", "accuracies", "continual", "attacks"}
    sql = "SELECT * EXCLUDE run_id FROM accuracy_table ORDER BY position"
    assert run["accuracies"] == workplace.rows(sql)
    assert [row["source"] for row in run["accuracies"]] == ["random"]


def test_quiet_keeps_errors(workplace):
    _, err = workplace.frepo(
        "run", workplace.spec(dataset='name = "cifar10"'), "--quiet", "--offline", "--data-dir", ".", code=1
    )
    assert err.startswith("frepo: ")


def test_a_finished_run_gets_its_event_files_later(one, scalars_in):
    workplace, *_ = one
    stage = workplace.stage("one", "evaluate-random")
    expected = scalars_in(stage)
    assert len(expected) == len((stage / "metrics.jsonl").read_text().splitlines()) > 0
    next(stage.glob("events.out.*")).unlink()
    workplace.frepo("run", workplace.path / "one.toml", "--tensorboard")
    assert scalars_in(stage) == expected


def on_a_terminal(workplace, *arguments):
    """Run `frepo ARGUMENTS` with standard error on a terminal and return (stdout, what was drawn)."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "frepo.cli", *map(str, arguments)]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    process = subprocess.Popen(command, cwd=workplace.path, env=environment, stdout=subprocess.PIPE, stderr=theirs)
    os.close(theirs)
    drawn = b""
    try:
        while part := os.read(ours, 65536):
            drawn += part
    except OSError:  # the other side is closed
        pass
    out, _ = process.communicate(timeout=60)
    os.close(ours)
    assert process.returncode == 0, drawn
    return out.decode(), ESCAPES.sub("", drawn.decode())


def test_on_a_terminal_a_bar_shows_the_stage_and_compare_says_what_differs(one):
    workplace, *_ = one
    spec = workplace.spec("two", distill='method = "random"\nipc = 2', **RANDOM)
    out, drawn = on_a_terminal(workplace, "run", spec)
    assert out.startswith("two ")
    assert re.search(r"\[2/2\] evaluate-random-\w{8} ━+ 40/40", drawn)
    assert re.search(r"steps/s .*loss [\d.e-]+  test accuracy [\d.]+%", drawn)

    found = json.loads(workplace.frepo("compare", "one", "two", "--json")[0])
    assert found["changes"] == [{"field": "distill.ipc", "a": 1, "b": 2}]
    (row,) = found["accuracies"]
    assert row["difference"] == row["b_top1_mean"] - row["a_top1_mean"]
    text, _ = workplace.frepo("compare", found["a"], "two")
    assert re.search(r"^distill\.ipc +1 +2$", text, flags=re.MULTILINE)
    assert "did you mean `two`?" in workplace.frepo("compare", "one", "tvo", code=1)[1]


def completed(workplace, words, monkeypatch, env):
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(len(words.split(" ")) - 1))
    monkeypatch.setenv("_FREPO_COMPLETE", env)
    return workplace.frepo()[0].split()


def test_bash_completes_specs_runs_and_options(workplace, monkeypatch):
    for path in ("specs/a.toml", "specs/cpu/b.toml", "runs/one/run-1.json", "runs/other/run-2.json", "runs/none/x"):
        (workplace.path / path).parent.mkdir(parents=True, exist_ok=True)
        (workplace.path / path).touch()

    def offered(words):
        return completed(workplace, words, monkeypatch, "complete_bash")

    assert offered("frepo run ") == ["specs/a.toml", "specs/cpu/b.toml"]
    assert offered("frepo plan specs/c") == ["specs/cpu/b.toml"]
    assert offered("frepo compare one o") == ["one", "other"]
    assert offered("frepo export --runs-dir elsewhere o") == []
    assert offered("frepo export one --format t") == ["tfds", "torch"]
    assert "compare" in offered("frepo c")


def test_the_script_for_bash_is_one_that_bash_reads(workplace, monkeypatch):
    monkeypatch.setenv("_FREPO_COMPLETE", "source_bash")
    script, _ = workplace.frepo()
    check = "complete -p frepo"
    said = subprocess.run(["bash", "--norc", "-c", f"{script}\n{check}"], check=True, capture_output=True, text=True)
    assert said.stdout.strip() == "complete -o default -F _frepo_completion frepo"


def test_the_formats_of_exports_are_named_where_one_is_wrong(workplace):
    _, err = workplace.frepo("export", "one", "--format", "nzp", "--out", "x", code=2)
    for kind in ("npz", "safetensors", "png", "tfds", "torch", "webp", "gif"):
        assert f"'{kind}'" in err

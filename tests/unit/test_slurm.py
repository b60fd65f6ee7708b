"""What is asked of Slurm: the user's file, arrays of stages, scripts. Jobs themselves are tried in `tests/slurm`."""

import json
import re
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from frepo.cli import app
from frepo.errors import FrepoError, SpecError
from frepo.execute import cancel as cancelling
from frepo.execute import runner, standings
from frepo.execute.job import read_job
from frepo.execute.slurm import executor as slurm_executor
from frepo.execute.slurm import queue
from frepo.execute.slurm.arrays import StageJob, arrays
from frepo.execute.slurm.queue import QueuedJob
from frepo.execute.slurm.settings import Settings, load_settings
from frepo.execute.slurm.submit import must_be_possible, scripts
from frepo.execute.worker import work
from frepo.plan import compile_plan
from frepo.runtime import RuntimeOptions
from frepo.spec import load_spec


def job(key, kind, *needs):
    return StageJob(key, kind, needs, ("compute", key))


TWO_RUNS = (
    job("a", "distill"),
    job("b", "evaluate", "a"),
    job("c", "distill"),
    job("d", "evaluate", "c"),
    job("e", "evaluate"),
    job("f", "attack", "b", "d"),
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("partition = 'gpu'\ntime = '1-02:03:04'", Settings(partition="gpu", time=1564)),
        ("time = '00:30:00'\nmemory = '16G'", Settings(time=30, memory="16G")),
        ("setup = ['module load cuda']\n[options]\nexclusive = true", None),
    ],
)
def test_a_file_of_settings_is_read(tmp_path, text, expected):
    path = tmp_path / "slurm.toml"
    path.write_text(text)
    settings = load_settings(path)
    assert settings == (expected or Settings(setup=("module load cuda",), options={"exclusive": True}))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\npartitions = 'gpu'", ":2: partitions: unknown field, did you mean `partition`?; allowed here: partition, "),
        ("gpus = 1\ntime = '2h'", ":2: time: '2h' is not allowed; write minutes (90), \"HH:MM:SS\" or "),
        ("time = 02:00:00", ':1: time: a time is in quotes: "HH:MM:SS"'),
        ("time = 0", ":1: time: input should be greater than or equal to 1, got 0"),
        ("time = 2", ":1: a notice of 120 s is no less than the limit `time`, 2 min"),
        ("memory = '16 GB'", ":1: memory: '16 GB' is not allowed; it must match "),
        ("[options]\nmem = '16G'", ":1: options: mem is set by the field `memory`"),
        ("[options]\noutput = 'x'", ":1: options: output is set by frepo itself"),
        ("[options]\nno-requeue = true", ":1: options: no-requeue is set by frepo itself"),
        ("[options]\nexclusive = false", ":1: options: exclusive = false asks for nothing: leave it out"),
        ('setup = ["one\\ntwo"]', ":1: setup.0: 'one\\ntwo' is not allowed"),
        ("gpus = ", ":1: not valid TOML"),
    ],
)
def test_an_error_in_it_says_where_and_what_is_allowed(tmp_path, text, expected):
    path = tmp_path / "slurm.toml"
    path.write_text(text)
    with pytest.raises(SpecError) as caught:
        load_settings(path)
    assert str(caught.value).startswith(f"{path}{expected}")


def test_without_a_file_the_cluster_decides_but_a_named_one_must_be_there(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert load_settings(None) == Settings()
    with pytest.raises(SpecError, match="no such file"):
        load_settings(tmp_path / "slurm.toml")
    (tmp_path / "frepo").mkdir()
    (tmp_path / "frepo" / "slurm.toml").write_text("gpus = 2")
    assert load_settings(None).gpus == 2


def test_stages_of_one_kind_and_depth_are_an_array():
    found = [(array.name, "".join(stage.key for stage in array.stages)) for array in arrays(TWO_RUNS, ())]
    assert found == [("frepo-distill", "ac"), ("frepo-evaluate", "e"), ("frepo-evaluate", "bd"), ("frepo-attack", "f")]
    rest = ["".join(stage.key for stage in array.stages) for array in arrays(TWO_RUNS[1:], {"a"})]
    assert rest == ["c", "e", "bd", "f"], "what waits for a stage in the queue is not with what waits for nothing"


def test_an_array_is_no_longer_than_slurm_allows():
    found = [len(array.stages) for array in arrays([job(str(number), "distill") for number in range(2500)], ())]
    assert found == [1000, 1000, 500]


def test_scripts_say_all_that_is_asked_for_and_write_nothing(tmp_path):
    settings = Settings(
        partition="gpu", gpus=1, cpus=4, memory="16G", time=90, account="me", constraint="a100", max_parallel=7,
        setup=("module load cuda",), options={"nice": 100, "exclusive": True},
    )  # fmt: skip
    first, _, third, last = scripts(TWO_RUNS[1:], {"a": "12_3", "z": "14"}, settings, tmp_path / "job")
    expected = (
        "--partition=gpu", "--gpus-per-node=1", "--cpus-per-task=4", "--mem=16G", "--time=90", "--account=me",
        "--constraint=a100", "--signal=USR2@120", "--requeue", "--nice=100", "--exclusive", "--job-name=frepo-distill",
    )  # fmt: skip
    assert [option for option in expected if f"#SBATCH {option}\n" not in first] == []
    assert "\nmodule load cuda\n" in first
    assert "--array" not in first
    assert "--dependency" not in first
    assert "#SBATCH --array=0-1%2\n" in third
    assert "#SBATCH --dependency='afterany:12:<1>'\n" in third
    assert "#SBATCH --dependency='afterany:<3>'\n" in last
    assert list(tmp_path.iterdir()) == []


def test_without_slurm_submission_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FrepoError, match=r"no sbatch on PATH: .* --dry-run"):
        must_be_possible()
    assert queue.queued(tmp_path) == {}
    queue.remember(tmp_path, {"a": "1"})
    with pytest.raises(FrepoError, match="no squeue on PATH"):
        queue.queued(tmp_path.parent)


def test_a_stage_is_the_job_that_was_submitted_last(tmp_path, monkeypatch):
    for number, ids in enumerate(({"a": "1_0", "b": "1_1"}, {"a": "2", "c": "3"})):
        (tmp_path / str(number)).mkdir()
        queue.remember(tmp_path / str(number), ids)
    shown = "1_1|RUNNING|None\n2|PENDING|Dependency\n77|RUNNING|None\n"
    monkeypatch.setattr(queue.shutil, "which", lambda name: name)
    monkeypatch.setattr(queue.subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 0, shown, ""))
    found = queue.queued(tmp_path)
    assert {key: (one.job_id, one.state, one.reason) for key, one in found.items()} == {
        "b": ("1_1", "RUNNING", "None"),
        "a": ("2", "PENDING", "Dependency"),
    }
    assert found["b"].log == tmp_path / "0" / "slurm" / "1_1_0_log.out"
    assert json.loads((tmp_path / "0" / queue.FILE).read_text()) == {"jobs": {"a": "1_0", "b": "1_1"}}


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A sweepless spec of two stages, options, and what sets the queue."""
    path = tmp_path / "spec.toml"
    path.write_text(
        'name = "small"\n[dataset]\nname = "digits"\n[distill]\nmethod = "random"\nipc = 1\n'
        '[[application]]\ntype = "evaluate"\nnum_models = 1\n'
    )
    loaded = load_spec(path)
    shown = {}

    def set_queue(**states):
        """Let the jobs of kinds of stages be in the queue, each in a state."""
        shown.clear()
        for stage in compile_plan(loaded.spec).stages:
            if stage.kind.name in states:
                job_id = {"distill": "7_1", "evaluate": "8"}[stage.kind.name]
                shown[stage.place] = QueuedJob(job_id, states[stage.kind.name], "Priority", tmp_path)

    cancelled = []
    for module in (slurm_executor, cancelling, standings):
        monkeypatch.setattr(module, "queued_if_here", lambda _: dict(shown))
    monkeypatch.setattr(cancelling, "cancel_jobs", cancelled.extend)
    options = RuntimeOptions(runs_dir=tmp_path / "runs")
    return SimpleNamespace(loaded=loaded, options=options, queue=set_queue, cancelled=cancelled)


@pytest.mark.parametrize(
    ("queue", "names", "waits_for"),
    [
        ({}, ["frepo-distill", "frepo-evaluate"], "<1>"),
        ({"distill": "RUNNING"}, ["frepo-evaluate"], "7"),
        ({"distill": "RUNNING", "evaluate": "PENDING"}, [], None),
        ({"evaluate": "RUNNING"}, ["frepo-distill"], None),
        ({"evaluate": "PENDING"}, ["frepo-distill", "frepo-evaluate"], "<1>"),
    ],
    ids=["none", "needed", "all", "at work", "waiting in vain"],
)
def test_what_is_in_the_queue_is_submitted_again_only_where_it_waits_in_vain(place, queue, names, waits_for):
    place.queue(**queue)
    found = list(slurm_executor.dry_run([place.loaded], place.options, Settings()))
    assert [re.search("--job-name=(.*)", script)[1] for script in found] == names
    if waits_for:
        assert f"afterany:{waits_for}" in found[-1]
    assert not place.options.runs_dir.exists()


def test_status_and_cancel_know_the_queue(place):
    place.queue(evaluate="PENDING")
    first, second = standings.standings_of_specs([place.loaded], place.options.runs_dir)
    assert (first.status, first.where) == ("waiting", "")
    assert (second.status, second.where) == ("queued", "Slurm job 8 (pending, Priority)")
    assert "1 queued, 1 waiting" in standings.standings_text([first, second])
    done = cancelling.cancel([place.loaded], place.options.runs_dir)
    assert place.cancelled == ["8"]
    assert [job.job_id for job in done.jobs] == ["8"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--wait",), "--executor-config, --dry-run and --wait are for --executor slurm"),
        (("--executor", "slurm", "--jobs", 2), "--jobs and --distributed divide this machine"),
        (("--executor", "slurm", "--dry-run", "--fresh"), "--dry-run computes nothing"),
        (("--executor", "slurm", "--executor-config", "absent.toml"), "absent.toml: no such file"),
    ],
)
def test_options_that_do_not_go_together_are_refused(place, options, expected):
    done = CliRunner().invoke(app, ["run", str(place.loaded.path), *map(str, options)])
    assert isinstance(done.exception, SpecError)
    assert expected in str(done.exception)


def test_without_submitit_it_is_said_how_to_get_it(place, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    done = CliRunner().invoke(app, ["run", str(place.loaded.path), "--executor", "slurm", "--dry-run"])
    assert "pip install 'frepo[slurm]'" in str(done.exception)


@pytest.fixture
def submitted(tmp_path, monkeypatch):
    """Stages that only choose images, jobs that end at once, and what computes them or does not."""
    path = tmp_path / "spec.toml"
    path.write_text('name = "small"\n[dataset]\nname = "digits"\n[distill]\nmethod = "random"\nipc = 1\n')
    found = SimpleNamespace(keys=[], computes=True)

    def submit(stages, queued, settings, job_directory):
        for stage in stages:
            found.keys.append(stage.key)
            if found.computes:
                work(read_job(Path(stage.command[-2])), [stage.key])
        return {stage.key: "5" for stage in stages}

    monkeypatch.setattr(slurm_executor, "submit", submit)
    monkeypatch.setattr(slurm_executor, "must_be_possible", lambda: None)
    monkeypatch.setattr(slurm_executor, "queued", lambda _: {})
    monkeypatch.setattr(slurm_executor, "ASK_SECONDS", 0.0)
    monkeypatch.setattr(slurm_executor, "LOOK_SECONDS", 0.0)
    options = RuntimeOptions(runs_dir=tmp_path / "runs", database=tmp_path / "results.duckdb")
    found.run = lambda *, wait: runner.run(
        [load_spec(path)], options, executor=slurm_executor.SlurmJobs(Settings(), wait=wait)
    )
    return found


def test_stages_that_are_waited_for_end_as_on_this_machine(submitted):
    (run_id,) = submitted.run(wait=True)
    assert run_id.startswith("small-")
    assert submitted.run(wait=True) == [run_id]
    assert len(submitted.keys) == 1


def test_a_job_that_ends_without_a_result_has_failed_and_is_submitted_again(submitted):
    submitted.computes = False
    with pytest.raises(FrepoError, match=r"is not done though its job has ended; what it said is in .*/slurm/5_0_log"):
        submitted.run(wait=True)
    assert submitted.run(wait=False) == []
    assert len(submitted.keys) == 2

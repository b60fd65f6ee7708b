"""Stopped anywhere and started again, a run ends in the same bits."""

import json
import shutil
import signal
import time

import numpy as np
import pytest

pytestmark = pytest.mark.usefixtures("commands_compile_quickly")


def results(workplace, name="tiny"):
    """Return the bytes of all results of a run by (stage, file)."""
    found = workplace.results(f"runs/{name}")
    assert len(found) == 7  # two times distilled.npz, three times metrics, two times evaluations
    return found


def database_rows(workplace):
    sql = "SELECT stage, step, name, value FROM metrics ORDER BY ALL"
    return workplace.rows(sql)


def rows(stage):
    """Return (step, name, float32) of the recorded metrics of a stage."""
    lines = (json.loads(line) for line in (stage / "metrics.jsonl").read_text().splitlines())
    return [(line["step"], line["name"], np.float32(line["value"])) for line in lines]


@pytest.fixture(scope="module")
def uninterrupted(make_workplace, commands_compile_quickly):
    """Return where a run has been that nothing interrupts."""
    workplace = make_workplace("straight")
    workplace.frepo("run", workplace.spec(), "--log-every", 5)
    return workplace


@pytest.fixture(scope="module")
def straight(uninterrupted):
    return results(uninterrupted), database_rows(uninterrupted)


@pytest.fixture
def finished(workplace, uninterrupted):
    """Return a workplace of one's own in which that run is finished."""
    shutil.copytree(uninterrupted.path, workplace.path, symlinks=True, dirs_exist_ok=True)
    return workplace


def test_killed_at_several_moments_it_ends_in_the_same_bits(own_workplace, straight, scalars_in):
    workplace = own_workplace  # also compiled anew, the programs give the bits of `straight`
    spec = workplace.spec()
    command = ("run", spec, "--checkpoint-every", 3, "--log-every", 5, "--tensorboard")
    random = np.random.default_rng(0)
    run = workplace.path / "runs" / "tiny"

    def states(label, count):
        return lambda: len(list(run.glob(f"{label}-????????/state/*.state"))) >= count

    for label, count in (("frepo", 1), ("frepo", 2), ("evaluate-distilled", 1), ("evaluate-random", 2)):
        process = workplace.start(*command)
        workplace.wait_until(states(label, count), process)
        time.sleep(random.uniform(0, 0.5))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        stage = workplace.stage("tiny", label)
        found = scalars_in(stage)
        assert found == rows(stage)[: len(found)]
    workplace.frepo(*command)
    assert (results(workplace), database_rows(workplace)) == straight
    for label in ("frepo", "evaluate-distilled", "evaluate-random"):
        stage = workplace.stage("tiny", label)
        assert scalars_in(stage) == rows(stage)
    attempts = json.loads((workplace.stage("tiny", "frepo") / "stage.json").read_text())["attempts"]
    assert len(attempts) >= 2
    assert attempts[-1]["first_step"] > 0
    assert list((workplace.path / "runs" / ".cache" / "compiled").glob("*/*-cache")), "kept for the next start"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_the_state_and_exits_75(workplace, straight, number):
    spec = workplace.spec()
    command = ("run", spec, "--log-every", 5)
    process = workplace.start(*command)
    metrics = (workplace.path / "runs" / "tiny").glob
    workplace.wait_until(lambda: any(path.stat().st_size for path in metrics("frepo-*/metrics.jsonl")), process)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 75, err
    assert out == ""
    assert "run the same command again" in err
    assert "Traceback" not in err
    assert len(list((workplace.stage("tiny", "frepo") / "state").glob("*.state"))) == 1
    status = "SELECT status FROM runs"
    assert workplace.rows(status) == [{"status": "stopped"}]
    assert "goes on from step" in workplace.frepo("plan", spec)[0]
    workplace.frepo(*command)
    assert (results(workplace), database_rows(workplace)) == straight


def test_a_damaged_state_is_set_aside_and_the_older_one_used(workplace, straight):
    command = ("run", workplace.spec(), "--checkpoint-every", 3, "--log-every", 5)
    process = workplace.start(*command)
    run = workplace.path / "runs" / "tiny"
    workplace.wait_until(lambda: len(list(run.glob("frepo-????????/state/*.state"))) == 2, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    newest = max((workplace.stage("tiny", "frepo") / "state").glob("*.state"))
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)
    _, err = workplace.frepo(*command)
    assert "is damaged" in err
    assert newest.name in err
    assert (results(workplace), database_rows(workplace)) == straight


def test_where_states_are_saved_changes_nothing(workplace, straight):
    workplace.frepo("run", workplace.spec(), "--log-every", 5, "--checkpoint-every", 1)
    assert (results(workplace), database_rows(workplace)) == straight


def test_settings_of_jax_in_the_environment_change_nothing(workplace, straight, monkeypatch):
    settings = {
        "JAX_ENABLE_X64": "1",
        "JAX_DEFAULT_PRNG_IMPL": "rbg",
        "JAX_THREEFRY_PARTITIONABLE": "0",
        "JAX_DEFAULT_MATMUL_PRECISION": "bfloat16",
        "JAX_NUMPY_DTYPE_PROMOTION": "strict",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    workplace.frepo("run", workplace.spec(), "--log-every", 5, "--set", "application.0.baselines=[]")
    found = workplace.results("runs/tiny")
    assert len(found) == 4
    assert {name: straight[0][name] for name in found} == found


def test_fresh_sets_results_aside_and_computes_the_same_again(finished, straight):
    _, err = finished.frepo("run", finished.spec(), "--log-every", 5, "--fresh")
    assert err.count("set aside") == 4
    assert len(list((finished.path / "runs" / ".stages").glob(".*.replaced-1"))) == 4
    assert results(finished) == straight[0]


def test_a_changed_application_keeps_the_distilled_data(finished):
    workplace, spec = finished, finished.spec()
    distilled = workplace.stage("tiny", "frepo") / "distilled.npz"
    before = distilled.stat().st_mtime_ns
    plan, _ = workplace.frepo("plan", spec, "--set", "application.0.num_models=3")
    assert "recipe.num_models: 2 -> 3" in plan
    out, err = workplace.frepo("run", spec, "--set", "application.0.num_models=3")
    assert "done already" in err
    assert "(3 networks" in out
    assert distilled.stat().st_mtime_ns == before
    runs = json.loads(workplace.frepo("runs", "--format", "json")[0])
    assert [run["status"] for run in runs] == ["done", "done"]

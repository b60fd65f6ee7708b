"""`frepo plan --cost`: what a run would cost, without running it."""

import json

import pytest

pytestmark = pytest.mark.usefixtures("commands_compile_quickly")

# The tiny spec's network: 8x8 digits padded to 12 pixels, two blocks of width 8 and 16, batch norm in the pool.
CONVOLUTIONS = (9 + 1) * 8 + (9 * 8 + 1) * 16
PARAMETERS = CONVOLUTIONS + 2 * 8 + (3 * 3 * 16 + 1) * 10
FORWARD = 2 * 9 * (12 * 12 * 1 * 8 + 6 * 6 * 8 * 16)


def costs(workplace, *arguments):
    out, _ = workplace.frepo("plan", workplace.path / "tiny.toml", "--cost", "--json", *arguments, warnings="error")
    return {row["stage"].rsplit("-", 1)[0]: row["cost"] for row in json.loads(out)["stages"]}


def test_cost_counts_parameters_operations_memory_and_steps(workplace):
    workplace.spec()
    found = costs(workplace)
    assert found["random"] is None
    frepo, evaluate = found["frepo"], found["evaluate-distilled"]
    assert frepo["parameters"] == PARAMETERS
    assert evaluate["parameters"] == PARAMETERS - 2 * 8
    # A target batch of 128, the support of 10 forwards and backwards, the member's training; the first layer's one
    # channel is counted as two.
    assert 128 * FORWARD < frepo["flops_per_step"] < 2 * 128 * FORWARD
    assert frepo["peak_device_bytes"] > 4 * 3 * PARAMETERS * 3  # three members with two moments each
    assert (frepo["steps_left"], evaluate["steps_left"]) == (60, 40)
    assert frepo["seconds_left"] > 60 * frepo["seconds_per_step"] > 0
    assert {path.name for path in (workplace.path / "runs").iterdir()} == {".cache"}

    out, _ = workplace.frepo("plan", workplace.path / "tiny.toml", "--cost")
    assert "GFLOP/step" in out
    assert "in all" in out
    workplace.frepo("run", workplace.path / "tiny.toml")
    assert set(costs(workplace).values()) == {None}


def test_cost_of_data_that_is_not_there_says_so(workplace):
    path = workplace.spec(dataset='name = "cifar10"')
    _, err = workplace.frepo("plan", path, "--cost", "--data-dir", workplace.path, code=1)
    assert "cifar10" in err


def test_the_cost_of_a_sweep_times_alike_stages_once(workplace):
    workplace.spec()
    sweep = workplace.path / "sweep.toml"
    sweep.write_text('extends = "tiny.toml"\napplication = []\n[sweep]\nseed = [0, 1, 2]\npool.size = [2, 3]\n')
    out, _ = workplace.frepo("plan", sweep, "--cost", "--json", warnings="error")
    found = json.loads(out)
    assert found["axes"] == {"seed": [0, 1, 2], "pool.size": [2, 3]}
    assert found["stages"] == {"all": 6, "distinct": 6, "shared": 0, "done": 0}
    assert [entry["swept"]["seed"] for entry in found["experiments"]] == [0, 0, 1, 1, 2, 2]
    cost = found["cost"]
    assert (cost["timed"], cost["stages"]) == (2, 6)
    assert cost["device_hours"] == cost["seconds_left"] * cost["devices"] / 3600 > 0

"""Methods besides FRePo, as whole programs: killed and resumed, on several devices, in low precision."""

import json
import signal

import numpy as np
import pytest

pytestmark = pytest.mark.usefixtures("commands_compile_quickly")

METHODS = {
    "rcig": {
        "distill": (
            'method = "rcig"\nipc = 1\nsteps = 12\nbatch_size = 64\nflip = true\n'
            "inner_steps = 2\nhessian_steps = 2\nmax_pool_updates = 2"
        ),
        "pool": "size = 2\nmax_online_updates = 4",
        "application": None,
    },
    "rat_bptt": {
        "distill": (
            'method = "rat_bptt"\nipc = 2\nsteps = 12\nbatch_size = 600\ntotal = 8\nwindow = 3\nwindow_change = 1\n'
            'placement = "adaptive"\nlearn_labels = true\nbatch_per_class = 1'
        ),
        "architecture": 'type = "dcconv"\nwidth = 8\ndepth = 2\nnormalization = "instance"',
        "pool": None,
        "application": None,
    },
}


@pytest.fixture(scope="module", params=METHODS)
def method(request):
    return request.param


@pytest.fixture(scope="module")
def straight(method, make_workplace, commands_compile_quickly):
    """Return where a run has been that nothing interrupts."""
    workplace = make_workplace(method)
    workplace.frepo("run", workplace.spec(**METHODS[method]), "--log-every", 1, warnings="error")
    return workplace


def result(workplace, method, name="tiny"):
    with np.load(workplace.stage(name, method) / "distilled.npz") as arrays:
        return {key: arrays[key] for key in arrays.files}


def test_it_learns_and_leaves_metrics_a_page_and_a_cost(straight, method):
    found = result(straight, method)
    assert all(np.all(np.isfinite(array)) for array in found.values())
    names = {row["name"] for row in straight.rows("SELECT DISTINCT name FROM metrics")}
    assert {"rcig": "inner_loss", "rat_bptt": "trained_loss"}[method] in names
    page, _ = straight.frepo("report")
    assert (straight.path / page.strip()).exists()
    plan, _ = straight.frepo(
        "plan", straight.path / "tiny.toml", "--set", "seed=1", "--cost", "--json", warnings="error"
    )
    (stage,) = json.loads(plan)["stages"]
    assert stage["cost"]["flops_per_step"] > 0
    assert stage["cost"]["steps_left"] == 12


def test_killed_and_resumed_it_ends_in_the_same_bits(workplace, straight, method):
    command = ("run", workplace.spec(**METHODS[method]), "--log-every", 1, "--checkpoint-every", 2)
    run = workplace.path / "runs" / "tiny"
    for count in (1, 2):
        process = workplace.start(*command)
        workplace.wait_until(lambda count=count: len(list(run.glob("*/state/*.state"))) >= count, process)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    workplace.frepo(*command)
    for name in ("distilled.npz", "metrics.jsonl"):
        there = [place.stage("tiny", method) / name for place in (workplace, straight)]
        assert there[0].read_bytes() == there[1].read_bytes()


def test_a_signal_ends_a_long_step_at_once_and_loses_nothing(workplace, straight, method):
    if method != "rat_bptt":
        pytest.skip("its steps are short")
    command = ("run", workplace.spec(**METHODS[method]), "--log-every", 1)
    process = workplace.start(*command)
    metrics = workplace.path / "runs" / "tiny"
    workplace.wait_until(lambda: any(p.stat().st_size for p in metrics.glob("*/metrics.jsonl")), process)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 75, err
    workplace.frepo(*command)
    there = [place.stage("tiny", method) / "distilled.npz" for place in (workplace, straight)]
    assert there[0].read_bytes() == there[1].read_bytes()


def test_eight_devices_compute_what_one_does(workplace, straight, method, monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=8")
    _, err = workplace.frepo("run", workplace.spec(**METHODS[method]), warnings="error")
    assert "8 x cpu" in err
    one = result(straight, method)
    for name, array in result(workplace, method).items():
        np.testing.assert_allclose(array, one[name], rtol=0, atol=1e-3)


def test_in_bfloat16_it_learns_about_the_same(workplace, straight, method):
    tables = {**METHODS[method]}
    tables["architecture"] = tables.get("architecture", "width = 8\ndepth = 2") + '\nprecision = "bfloat16"'
    workplace.frepo("run", workplace.spec(**tables), warnings="error")
    one, other = result(straight, method), result(workplace, method)
    changed = np.abs(other["images"] - one["images"])
    assert changed.max() > 0
    assert np.linalg.norm(changed) < 0.2 * np.linalg.norm(one["images"])

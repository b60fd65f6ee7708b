"""One experiment on several devices, and by several processes."""

import json
import os
import signal
import socket

import numpy as np
import pytest

pytestmark = pytest.mark.usefixtures("commands_compile_quickly")

FREPO = 'method = "frepo"\nipc = 1\nsteps = 50\nbatch_size = 100\nflip = true'
EIGHT = {"XLA_FLAGS": "--xla_force_host_platform_device_count=8"}


def distilled(workplace, runs="runs"):
    (path,) = (workplace.path / runs / "tiny").glob("frepo-????????/distilled.npz")
    with np.load(path) as arrays:
        return {name: arrays[name] for name in ("images", "labels")}


def assert_equal_but_for_rounding(one, other):
    for name, array in one.items():
        np.testing.assert_allclose(array, other[name], rtol=0, atol=5e-5)


@pytest.fixture(scope="module")
def one_device(make_workplace, commands_compile_quickly):
    workplace = make_workplace("one")
    workplace.frepo("run", workplace.spec(distill=FREPO), warnings="error")
    return distilled(workplace)


def test_eight_devices_compute_what_one_does(workplace, one_device, monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", EIGHT["XLA_FLAGS"])
    _, err = workplace.frepo("run", workplace.spec(distill=FREPO), warnings="error")
    assert "8 x cpu" in err
    assert_equal_but_for_rounding(one_device, distilled(workplace))
    # Chunks of the support and shares of the devices go together.
    workplace.frepo("run", workplace.path / "tiny.toml", "--chunk", "6", "--runs-dir", "cut", "--db", "cut.duckdb")
    assert_equal_but_for_rounding(one_device, distilled(workplace, "cut"))


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def start_two(workplace, *arguments):
    port = free_port()
    return [
        workplace.start("run", "tiny.toml", *arguments, "--distributed", f"127.0.0.1:{port},{index}/2")
        for index in range(2)
    ]


def finish(processes):
    results = [process.communicate(timeout=600) for process in processes]
    return [process.returncode for process in processes], results


def test_two_processes_compute_what_one_does_and_only_the_first_writes(workplace, one_device):
    workplace.spec(distill=FREPO)
    codes, ((out, err), (other_out, other_err)) = finish(start_two(workplace))
    assert codes == [0, 0], err + other_err
    assert "2 x cpu" in err
    assert "top-1" in out
    assert "top-1" not in other_out
    assert_equal_but_for_rounding(one_device, distilled(workplace))
    rows, _ = workplace.frepo("query", "SELECT count(*) AS n FROM evaluations", "--format", "csv")
    assert rows.split() == ["n", "4"]


def test_a_signal_to_either_process_stops_both_and_they_go_on_together(workplace):
    workplace.spec(distill=FREPO + "\nvalidation_fraction = 0.2")
    assert finish(start_two(workplace, "--runs-dir", "straight", "--db", "straight.duckdb"))[0] == [0, 0]
    processes = start_two(workplace, "--checkpoint-every", "10")
    run = workplace.path / "runs" / "tiny"
    workplace.wait_until(lambda: list(run.glob("frepo-*/state/*.state")), processes[1])
    os.kill(processes[1].pid, signal.SIGTERM)
    codes, results = finish(processes)
    assert codes == [75, 75], results
    assert finish(start_two(workplace))[0] == [0, 0]
    for name, array in distilled(workplace, "straight").items():
        np.testing.assert_array_equal(array, distilled(workplace)[name])
    straight, resumed = ((workplace.path / runs).glob("tiny/frepo-*/metrics.jsonl") for runs in ("straight", "runs"))
    rows = next(straight).read_text()
    assert rows.count("validation_accuracy") == 17
    assert next(resumed).read_text() == rows


def test_an_address_that_is_none_is_explained(workplace):
    for text in ("here", "host:1,2/2", "host,0/2"):
        _, err = workplace.frepo("run", workplace.spec(), "--distributed", text, code=2)
        assert "HOST:PORT,INDEX/COUNT" in err
        assert text in err


def test_one_that_dies_ends_the_other_and_they_go_on_together(workplace):
    workplace.spec(distill=FREPO.replace("50", "5000"), application=None)
    processes = start_two(workplace, "--checkpoint-every", "5")
    run = workplace.path / "runs" / "tiny"
    workplace.wait_until(lambda: list(run.glob("frepo-*/state/*.state")), processes[1])
    processes[1].kill()
    codes, ((_, err), _) = finish(processes)
    assert codes == [75, -signal.SIGKILL], err
    assert "another of the processes that compute this together cannot be reached" in err
    assert "Traceback" not in err
    assert workplace.frepo("verify")[0] == "1 run, 1 stage: all as it was written\n"
    assert json.loads(next(run.glob("frepo-*/stage.json")).read_text())["status"] == "stopped"


def test_processes_that_diverge_end_together(workplace):
    workplace.spec(distill=FREPO.replace("ipc = 1", "ipc = 20\nreg = 1e-12"), application=None)
    codes, ((_, err), (_, other_err)) = finish(start_two(workplace))
    assert codes == [1, 1], err + other_err
    for text in (err, other_err):
        assert "has diverged" in text
        assert "Traceback" not in text

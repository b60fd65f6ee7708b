"""Runs called from Python, in a process of their own as a notebook's."""

import signal
import subprocess
import sys

import pytest

pytestmark = pytest.mark.usefixtures("commands_compile_quickly")

BESIDE_A_CONNECTION = """
import threading
import frepo

first = frepo.run("tiny.toml", log_every=20)
assert repr(first).count("top-1") == 1, first
assert first.run_id.startswith("tiny-") and first.directory.is_dir()
assert [row["num_models"] for row in first.accuracies] == [1]
connection = frepo.connect()

other = frepo.load_spec("tiny.toml", ["application.0.learning_rate=1e-3"])
results = []
thread = threading.Thread(target=lambda: results.append(frepo.run(other)))  # signals go to the main thread alone
thread.start()
thread.join()

count = "SELECT count(*) FROM runs"
print(connection.execute(count).fetchone(), frepo.connect().execute(count).fetchone())
print(first.run_id != results[0].run_id)
"""

INTERRUPTED = """
import frepo

try:
    frepo.run("tiny.toml", checkpoint_every="1000s")
except frepo.Interrupted as error:
    print(error)
    print(frepo.connect().execute("SELECT status FROM runs").fetchall())
"""


def python(workplace, code):
    return subprocess.Popen(
        [sys.executable, "-c", code], cwd=workplace.path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_runs_go_on_beside_an_open_connection(workplace):
    application = 'type = "evaluate"\nnum_models = 1\nsteps = 20\nwarmup_steps = 5\naugmentation = []'
    workplace.spec(distill='method = "random"\nipc = 1', pool=None, application=application)
    process = python(workplace, BESIDE_A_CONNECTION)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert out.splitlines() == ["(1,) (2,)", "True"]
    assert "done already" in err, "the second run took the images of the first"


def test_an_interrupt_saves_the_state_and_is_an_error_of_its_own(workplace):
    spec = workplace.spec(distill='method = "frepo"\nipc = 1\nsteps = 100000\nbatch_size = 128', application=None)
    process = python(workplace, INTERRUPTED)
    run = workplace.path / "runs" / "tiny"
    workplace.wait_until(lambda: list(run.glob("frepo-*/metrics.jsonl")), process)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert out.splitlines() == ["stopped by SIGINT; run the same command again to go on", "[('stopped',)]"]
    assert "to compute" not in workplace.frepo("plan", spec)[0]

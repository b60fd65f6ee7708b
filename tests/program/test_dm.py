"""The second method from the command line: everything that follows a method's data takes its data too."""

import json
import signal

import numpy as np
import pytest

pytestmark = pytest.mark.usefixtures("commands_compile_quickly")

ARCHITECTURE = 'type = "dcconv"\nwidth = 4\ndepth = 2\nnormalization = "instance"'
DISTILL = 'method = "dm"\nipc = 1\nsteps = 400\nbatch_size = 16\n'


def test_it_is_learned_stopped_and_gone_on_with_to_the_same_bits_evaluated_shown_and_exported(workplace):
    tables = {"architecture": ARCHITECTURE, "distill": DISTILL, "pool": None}
    workplace.frepo("run", workplace.spec("straight", **tables), "--runs-dir", "elsewhere", warnings="error")
    spec, runs = workplace.spec("stopped", **tables), workplace.path / "runs"
    process = workplace.start("run", spec)
    metrics = "stopped/dm-*/metrics.jsonl"
    workplace.wait_until(lambda: any(path.stat().st_size for path in runs.glob(metrics)), process)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 75, err
    assert "goes on from step" in workplace.frepo("plan", spec)[0]
    out, _ = workplace.frepo("run", spec, warnings="error")
    assert "distilled" in out
    for result in ("dm/distilled.npz", "evaluate-distilled-dcconv-identity/evaluations.jsonl"):
        label, file = result.split("/")
        straight = workplace.stage("straight", label, "elsewhere") / file
        stopped = workplace.stage("stopped", label) / file
        assert straight.read_bytes() == stopped.read_bytes(), result
    with np.load(workplace.stage("stopped", "dm") / "distilled.npz") as learned:
        assert learned["images"].shape == (10, 8, 8, 1)
        np.testing.assert_allclose(learned["labels"], np.eye(10) - 0.1, atol=1e-6)
    stage = json.loads((workplace.stage("stopped", "dm") / "stage.json").read_text())
    assert stage["identity"]["distill"]["augmentation"] == ["color", "crop", "cutout", "scale", "rotate"]

    workplace.frepo("report", "stopped", "--out", workplace.path / "pages")
    assert "Distance between mean features" in (workplace.path / "pages" / "stopped.html").read_text()
    workplace.frepo("export", "stopped", "--format", "npz", "--out", workplace.path / "npz")
    assert "distribution matching (Zhao and Bilen, WACV 2023)" in (workplace.path / "npz" / "README.md").read_text()

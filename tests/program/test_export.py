"""Exports of a real run: a stranger's PyTorch reaches what frepo reaches, and frepo imports its own export."""

import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from frepo.data.sources.digits import read_digits
from frepo.exchange.export.exported import load

EXPORT = """
import sys
from pathlib import Path
from frepo.exchange.export.run import export_run
from frepo.runtime import RuntimeOptions
print(export_run(sys.argv[1], sys.argv[2], Path(sys.argv[3]), RuntimeOptions()))
"""
ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1"}
"""Several threads wait for each other where cores are shared."""
RECIPE = (
    'type = "evaluate"\nnum_models = 3\nsteps = 300\nwarmup_steps = 30\nlearning_rate = 0.003\n'
    'augmentation = ["color", "crop", "rotate", "translate", "cutout"]'
)


@pytest.fixture(scope="module")
def finished(make_workplace):
    """Ten learned digits, evaluated, and five real ones of each class chosen by herding."""
    workplace = make_workplace("export")
    spec = workplace.spec(
        "learned",
        architecture="width = 16\ndepth = 2",
        distill='method = "frepo"\nipc = 1\nsteps = 300\nbatch_size = 256\nlearning_rate = 0.01',
        pool="size = 5",
        application=RECIPE,
    )
    chosen = workplace.spec(
        "chosen",
        dataset='name = "digits"\npreprocess = { type = "zca", reg = 0.1 }',
        distill='method = "herding"\non = "pixels"\nipc = 5',
        pool=None,
        application='type = "evaluate"\nnum_models = 1\nsteps = 60\nwarmup_steps = 5\nloss = "soft_xent"',
    )
    workplace.frepo("run", spec, chosen)
    return SimpleNamespace(workplace=workplace, spec=spec)


def export(workplace, name, kind, out):
    command = [sys.executable, "-W", "error", "-c", EXPORT, name, kind, out]
    done = subprocess.run(command, cwd=workplace.path, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip() == out
    return workplace.path / out


def accuracies(workplace, name):
    sql = f"SELECT e.top1 FROM evaluations e JOIN runs r ON r.name = e.run WHERE r.name = '{name}' ORDER BY e.model"
    return [row["top1"] for row in workplace.rows(sql)]


def test_the_pytorch_script_reaches_the_accuracy_of_frepo(finished):
    pytest.importorskip("torch")
    out = export(finished.workplace, "learned", "torch", "pytorch")
    digits = read_digits()
    np.savez(out / "test.npz", images=digits.test_images, labels=digits.test_labels)
    command = [sys.executable, "-W", "error", "-I", out / "train.py", "--test-data", out / "test.npz"]
    done = subprocess.run(command, env=ONE_THREAD, capture_output=True, text=True, timeout=600, check=True)
    *networks, mean = done.stdout.splitlines()
    assert len(networks) == 3
    expected = accuracies(finished.workplace, "learned")
    assert float(mean.split()[1]) == pytest.approx(100 * np.mean(expected), abs=5.0)
    assert f"{100 * np.mean(expected):.1f} ± {100 * np.std(expected, ddof=1):.1f}%" in (out / "README.md").read_text()


def test_the_pytorch_script_whitens_test_images(finished):
    pytest.importorskip("torch")
    out = export(finished.workplace, "chosen", "torch", "whitened")
    digits = read_digits()
    np.savez(out / "test.npz", images=digits.test_images, labels=digits.test_labels)
    command = [sys.executable, "-W", "error", "-I", out / "train.py", "--test-data", out / "test.npz"]
    done = subprocess.run(command, env=ONE_THREAD, capture_output=True, text=True, timeout=600, check=True)
    (expected,) = accuracies(finished.workplace, "chosen")
    assert float(done.stdout.splitlines()[-1].split()[1]) == pytest.approx(100 * expected, abs=10.0)


def test_without_test_data_the_script_saves_a_network(finished, tmp_path):
    pytest.importorskip("torch")
    out = export(finished.workplace, "learned", "torch", "untested")
    script = out / "train.py"
    script.write_text(script.read_text().replace("STEPS, BATCH_SIZE = 3, 300,", "STEPS, BATCH_SIZE = 3, 31,"))
    command = [sys.executable, script]
    done = subprocess.run(command, cwd=tmp_path, env=ONE_THREAD, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout) == (0, "network.safetensors\n"), done.stderr
    wrong = tmp_path / "wrong.npz"
    np.savez(wrong, images=np.zeros((5, 8, 8)), labels=np.zeros(5, int))
    command += ["--test-data", wrong]
    done = subprocess.run(command, env=ONE_THREAD, capture_output=True, text=True, timeout=300)
    assert done.returncode == 2
    assert "not uint8 [n, 8, 8, 1]" in done.stderr


@pytest.mark.parametrize("kind", ["npz", "safetensors"])
def test_an_export_that_is_imported_gives_the_same_accuracies(finished, kind):
    workplace = finished.workplace
    out = export(workplace, "learned", kind, f"{kind}-to-import")
    workplace.frepo("import", out, "--spec", finished.spec, "--set", f"name=again-{kind}")
    assert accuracies(workplace, f"again-{kind}") == accuracies(workplace, "learned")
    again = load(export(workplace, f"again-{kind}", kind, f"{kind}-again"))
    assert again.images.tobytes() == load(out).images.tobytes()
    assert again.soft_labels.tobytes() == load(out).soft_labels.tobytes()
    assert again.accuracy is not None
    assert again.accuracy["top1"] == accuracies(workplace, "learned")


def test_chosen_images_go_with_hard_labels(finished):
    found = load(export(finished.workplace, "chosen", "npz", "chosen-npz"))
    assert (found.recipe["labels"], found.recipe["loss"], found.recipe["temperature"]) == ("hard", "xent", None)
    assert found.accuracy is not None
    assert found.accuracy["top1"] == accuracies(finished.workplace, "chosen")
    assert found.preprocess.whiten is not None
    levels = np.round(found.pixels * 255).astype(np.uint8)
    real = {image.tobytes() for image in read_digits().train_images}
    assert all(image.tobytes() in real for image in levels)
    assert np.array_equal(found.hard_labels, np.repeat(np.arange(10), 5))

"""Applications that are many stages: continual learning and membership inference, killed, shared and changed."""

import hashlib
import json
import signal

import numpy as np
import pytest

import frepo

pytestmark = pytest.mark.usefixtures("commands_compile_quickly")

DISTILL = 'method = "frepo"\nipc = 2\nsteps = 20\nbatch_size = 64\nlearning_rate = 0.01'
RECIPE = "num_models = 1\nsteps = 20\nwarmup_steps = 5\nlearning_rate = 3e-3\naugmentation = []\n"
CONTINUAL = f'type = "continual"\nnum_steps = 2\nnum_classes = 4\nbaselines = ["random"]\n{RECIPE}'
MEMBERSHIP = (
    'type = "membership"\nchunk_size = 200\ntrain_steps = [10, 30]\nshadow_models = 2\nnum_models = 1\n'
    'learning_rate = 3e-3\naugmentation = []\nattacks = ["threshold", "logistic_regression", "lira"]'
)


def results(workplace, name):
    """Return a digest of every result file of a run by stage and name."""
    kept = ("distilled.npz", "continual.jsonl", "exposed.npz", "attacks.jsonl", "metrics.jsonl")
    directory = workplace.path / "runs" / name
    files = [path for path in directory.glob("*/*") if path.name in kept]
    return {str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def straight(make_workplace, commands_compile_quickly):
    """Return the results of a course of steps that one process computes and nothing interrupts."""
    workplace = make_workplace("straight")
    workplace.frepo("run", workplace.spec(distill=DISTILL, application=CONTINUAL))
    return results(workplace, "tiny")


def test_classes_come_in_steps_and_are_tested_together(workplace):
    spec = workplace.spec(distill=DISTILL, application=CONTINUAL + "seeds = [0, 1]\n")
    out, _ = workplace.frepo("run", spec, warnings="error")
    assert out.count("average accuracy") == 2
    found = workplace.rows("SELECT * FROM continual ORDER BY ALL")
    assert len(found) == 2 * 2 * 3, "seeds, memories, and one task after the first step, two after the second"
    of_step = workplace.rows("SELECT step, seed, sum(n_test) AS n FROM continual WHERE source = 'random' GROUP BY ALL")
    assert all(row["n"] < 360 for row in of_step), "four of ten classes"
    assert {row["num_seeds"] for row in workplace.rows("SELECT num_seeds FROM continual_accuracy")} == {2}
    course = workplace.rows(
        "SELECT step, task, correct / n_test AS a FROM continual WHERE seed = 0 AND source = 'random'"
    )
    a = {(row["step"], row["task"]): row["a"] for row in course}
    (summary,) = workplace.rows("SELECT * FROM continual_summary WHERE source = 'random'")
    other = workplace.rows(
        "SELECT step, task, correct / n_test AS a FROM continual WHERE seed = 1 AND source = 'random'"
    )
    b = {(row["step"], row["task"]): row["a"] for row in other}
    assert summary["forgetting_mean"] == pytest.approx((a[1, 1] - a[2, 1] + b[1, 1] - b[2, 1]) / 2)
    seeds = {
        (row["source"], row["seed"]): row["accuracy"]
        for row in workplace.rows("SELECT * FROM continual_seeds WHERE step = 2")
    }
    gains = [seeds["distilled", seed] - seeds["random", seed] for seed in (0, 1)]
    (after,) = workplace.rows("SELECT * FROM continual_accuracy WHERE source = 'distilled' AND step = 2")
    assert after["over_random_mean"] == pytest.approx(sum(gains) / 2)
    assert after["over_random_std"] == pytest.approx(abs(gains[0] - gains[1]) / 2**0.5)
    assert after["accuracy_mean"] == pytest.approx((seeds["distilled", 0] + seeds["distilled", 1]) / 2)
    workplace.frepo("report", "tiny")
    page = (workplace.path / "reports" / "tiny.html").read_text()
    assert "Continual learning" in page
    assert f"({100 * after['over_random_mean']:+.1f} ± {100 * after['over_random_std']:.1f})" in page
    _, err = workplace.frepo("export", "tiny", "--format", "npz", "--out", "memory", code=1)
    assert "--stage: frepo-seed0-step1, " in err
    workplace.frepo("export", "tiny", "--format", "npz", "--out", "memory", "--stage", "frepo-seed1-step2")
    memory = frepo.load(workplace.path / "memory")
    learned = np.load(workplace.stage("tiny", "frepo-seed1-step2") / "distilled.npz")
    np.testing.assert_array_equal(memory.images, learned["images"])
    np.testing.assert_array_equal(memory.soft_labels, learned["labels"])
    assert len(memory.class_names) == 2
    assert memory.recipe["steps"] == 20
    assert "minus 1/4 |" in (workplace.path / "memory" / "README.md").read_text()
    again = workplace.frepo("plan", spec, "--set", "application.0.seeds=[0, 1, 2]")[0]
    assert again.count("done") == 2 * (2 + 2 + 4)
    assert again.count("to compute") == 2 + 2 + 4


def test_networks_are_attacked_and_only_the_attacks_are_computed_anew(workplace):
    spec = workplace.spec(distill=DISTILL, application=MEMBERSHIP)
    out, _ = workplace.frepo("run", spec, warnings="error")
    assert out.count("AUC") == 2 * 2 * 3
    found = workplace.rows("SELECT DISTINCT source, train_steps, attack, members, non_members FROM attacks")
    assert len(found) == 12
    assert {(row["members"], row["non_members"]) for row in found if row["attack"] != "logistic_regression"} == {
        (200, 360)
    }
    assert {(row["members"], row["non_members"]) for row in found if row["attack"] == "logistic_regression"} == {
        (200, 200)
    }
    table = workplace.rows("SELECT * FROM attack_table")
    assert all(row["auc_low"] <= row["auc_mean"] <= row["auc_high"] for row in table)
    workplace.frepo("report", "tiny")
    assert "AUC of lira" in (workplace.path / "reports" / "tiny.html").read_text()
    changed = workplace.frepo("plan", spec, "--set", 'application.0.attacks=["threshold"]')[0]
    assert [line.split()[0].split("-")[0] for line in changed.splitlines() if "to compute" in line] == ["attack"] * 4


def test_a_kill_in_the_middle_changes_no_bit(workplace, straight):
    killed = workplace.spec("killed", distill=DISTILL, application=CONTINUAL)
    process = workplace.start("run", killed, "--checkpoint-every", "5")
    killed_run = workplace.path / "runs" / "killed"
    workplace.wait_until(lambda: list(killed_run.glob("continual-*/metrics.jsonl")), process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    _, err = workplace.frepo("run", killed, "--checkpoint-every", "5")
    assert "done already" in err
    assert results(workplace, "killed") == straight


def test_processes_that_share_a_spec_compute_each_stage_once(workplace, straight):
    shared = workplace.spec("shared", distill=DISTILL, application=CONTINUAL)
    processes = [workplace.start("run", shared) for _ in range(2)]
    outputs = [process.communicate(timeout=600) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert results(workplace, "shared") == straight
    stages = workplace.rows("SELECT stage, attempts FROM stages WHERE run = 'shared'")
    assert {len(json.loads(row["attempts"])) for row in stages} == {1}
    hosts = [err.count("starts on") for _, err in outputs]
    assert all(hosts), f"both worked: {hosts}"

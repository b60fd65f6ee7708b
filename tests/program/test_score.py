"""`frepo score`: anyone's set under its own recipe and a common one, and what makes the difference."""

import json

import numpy as np
import pytest
from flax import serialization
from sklearn.datasets import load_digits

pytestmark = pytest.mark.usefixtures("commands_compile_quickly")

QUICK = ("architecture.width=8", "architecture.depth=2", "application.num_models=2", "application.epochs=30")
CHEAP = [word for setting in QUICK for word in ("--set", setting)]


@pytest.fixture
def digits(workplace):
    """Write two real digits of each class, as pixels in 0..1, and return the file."""
    images, labels = load_digits(return_X_y=True)
    chosen = np.concatenate([np.flatnonzero(labels == label)[:2] for label in range(10)])
    path = workplace.path / "set of mine.npz"
    np.savez(path, images=(images[chosen] / 16).reshape(-1, 8, 8, 1).astype(np.float32), labels=labels[chosen])
    return path


def test_a_set_is_scored_under_its_own_and_the_common_recipe_and_between_them(workplace, digits):
    settings = [*CHEAP, "--set", 'dataset.preprocess={type="zca", eps=0.1}', "--set", "application.full_epochs=1"]
    arguments = ("score", digits.name, "--dataset", "digits", "--recipe", "datm", "--pixels", *settings)
    # Nothing but fair scores has full_epochs: an unknown field is named, and nothing was computed.
    _, err = workplace.frepo(*arguments[:-2], "--set", "application.steps_=3", code=2)
    assert "application.0.steps_: unknown field, did you mean `steps`?" in err
    out, _ = workplace.frepo(*arguments)
    lines = out.splitlines()
    assert lines[0].startswith("digits, ipc 2, 2 networks each")
    assert lines[1].split() == ["recipe", "images", "random", "herding", "full"]
    assert lines[2].startswith("datm (its own)")
    assert lines[3].startswith("dsa (common)")
    assert {line.split()[0] for line in lines if line.split()[:1] in (["whitening"], ["labels"], ["training"])} == {
        "whitening",
        "labels",
        "training",  # of 128 images a batch
    }
    assert not {"network", "augmentation"} & {line.split()[0] for line in lines if line}  # in which they do not differ
    assert any(line.startswith("label-robust score") for line in lines)
    found = json.loads(workplace.frepo(*arguments, "--json")[0])  # nothing is computed again
    accuracy = {(row["case"], row["source"]): row["top1_mean"] for row in found["accuracies"]}
    assert accuracy["labels", "distilled"] > accuracy["own", "distilled"]  # soft labels of one class are no logits
    assert {case for case, _ in accuracy} == {"own", "whitening", "labels", "training", "common"}
    assert set(found["fair_scores"]) >= {"hard_label_recovery", "label_robust_score"}
    shown = f"{100 * accuracy['own', 'distilled']:.1f}"
    assert shown in lines[2]
    runs = workplace.rows("SELECT name, sweep FROM runs ORDER BY name")
    assert {row["sweep"] for row in runs} == {"score-set-of-mine"}


def test_without_a_recipe_of_its_own_a_set_has_the_common_one(workplace, digits):
    out, err = workplace.frepo(
        *("score", digits.name, "--dataset", "digits", "--pixels", "--no-fair-scores", "--common", "frepo", *CHEAP)
    )
    assert out.splitlines()[2].startswith("frepo (common)")
    assert "from its own" not in out
    assert "fair scores" not in out
    assert "no image is negative" not in err


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--recipe", "mtd"), "--recipe mtd: no such recipe, did you mean `mtt`?; known are frepo, rcig, "),
        (("--common", "x"), "--common x: no such recipe; known are frepo, rcig, "),
        (("--recipe", "rcig"), "mirror images of digits are not of their class: set mirrored = false"),
        (("--set", "pool.size=3"), "--set pool.size=3: a score has settings of dataset, architecture, application"),
        (("--set", "application.steps=x"), "application.0.steps: "),
        (("--pixels-255",), "--pixels and --pixels-255 say different things"),
    ],
)
def test_what_cannot_be_scored_is_said_at_once(workplace, digits, arguments, expected):
    _, err = workplace.frepo("score", digits.name, "--dataset", "digits", "--pixels", *arguments, code=2)
    assert expected in err
    assert not (workplace.path / "runs").exists()


def layouts(torch, images, labels, folder):
    """Save one set in the layout of each method and yield (recipe, file)."""

    def saved(name, value):
        torch.save(value, folder / name)
        return folder / name

    x, y = torch.from_numpy(images.transpose(0, 3, 1, 2).copy()), torch.from_numpy(labels)
    saved("labels_best.pt", y)
    yield "mtt", saved("images_best.pt", x)
    yield "dc", saved("res_DC.pt", {"data": [[x, y]], "accs_all_exps": {"ConvNet": [0.5, np.float64(0.4)]}})
    yield "dsa", saved("idc.pt", [x, y])
    yield "dd_ranking", saved("named.pt", {"images": x, "labels": y})
    learned = {"model_state_dict": {"module.data.weight": x.reshape(len(x), -1)}, "epoch": 3}
    yield "rat_bptt", saved("rat.pth", learned)
    (folder / "logits").mkdir()
    saved("logits/labels_best.pt", 9.0 * torch.eye(10)[y])
    yield "datm", saved("logits/images_best.pt", x)


def test_every_layout_of_pytorch_is_scored_under_its_recipe(workplace, long):
    torch = pytest.importorskip("torch")
    images, labels = load_digits(return_X_y=True)
    chosen = np.array([np.flatnonzero(labels == label)[0] for label in range(10)])
    inputs = ((images[chosen].reshape(-1, 8, 8, 1) / 16 - 0.3) / 0.37).astype(np.float32)
    quick = [*CHEAP[:4], "--set", "application.num_models=1", "--set", "application.epochs=2", "--no-fair-scores"]
    saved = list(layouts(torch, inputs, labels[chosen], workplace.path))
    for recipe, path in saved if long else saved[:1]:
        options = ("--recipe", recipe, "--common", recipe, "--layout", "nchw", "--quiet", "--json")
        out, _ = workplace.frepo("score", path, "--dataset", "digits", *options, *quick)
        found = json.loads(out)["accuracies"]
        assert {(row["case"], row["source"]) for row in found} == {
            (case, source) for case in ("own", "common") for source in ("distilled", "random", "herding")
        }
        assert {row["ipc"] for row in found} == {1}


def test_a_checkpoint_of_rcig_is_scored_by_the_average_that_it_is_released_with(workplace):
    images, labels = load_digits(return_X_y=True)
    chosen = np.array([np.flatnonzero(labels == label)[0] for label in range(10)])
    inputs = ((images[chosen].reshape(-1, 8, 8, 1) / 16 - 0.3) / 0.37).astype(np.float32)
    data = {"x_proto": inputs, "y_proto": np.eye(10, dtype=np.float32)[labels[chosen]] - np.float32(0.1)}
    state = {"ema_average": data | {"log_temp": np.float32(0.5)}, "params": {**data, "x_proto": -inputs}, "step": 5}
    (workplace.path / "checkpoint_65.13").write_bytes(serialization.msgpack_serialize(state))
    settings = ("--set", "application.mirrored=false", "--set", "application.steps=60", "--no-fair-scores")
    out, err = workplace.frepo(
        *("score", "checkpoint_65.13", "--dataset", "digits", "--recipe", "rcig", "--common", "frepo", *CHEAP[:6]),
        *(*settings, "--set", "application.warmup_steps=10", "--set", "application.learning_rate=0.003"),
    )
    assert "ema_average/x_proto" in err
    own, common = (line for line in out.splitlines() if "%" in line and "(" in line)
    assert own.startswith("rcig (its own)")
    assert common.startswith("frepo (common)")
    assert "augmentation" in out  # what they differ in
    stages = workplace.rows("SELECT augmentation, augmentation_mode FROM accuracy_table WHERE source = 'distilled'")
    assert {row["augmentation_mode"] for row in stages} == {"each", "one"}

"""Everything that evaluates: sources of data, networks, predictors, choices and scores, on the built-in digits."""

import json
import re

import numpy as np
import pytest
from flax import serialization

from frepo.data.sources.digits import read_digits
from frepo.data.split import split

pytestmark = pytest.mark.usefixtures("commands_compile_quickly")

DISTILL = 'method = "frepo"\nipc = 2\nsteps = 30\nbatch_size = 128\nlearning_rate = 0.01\nvalidation_fraction = 0.2'
QUICK = "num_models = 2\nsteps = 20\nwarmup_steps = 5\nlearning_rate = 3e-3\naugmentation = []\n"


def applications(*bodies):
    return "\n\n[[application]]\n".join(bodies)


def test_every_source_of_data_goes_through_the_same_networks(workplace):
    baselines = '["random", "herding", "k_center", "k_means", "herding_pixels", "full"]'
    spec = workplace.spec(
        distill=DISTILL,
        application=f'type = "evaluate"\n{QUICK}baselines = {baselines}\nfull_epochs = 2\nfeature_epochs = 1\n'
        'predictors = ["network", "krr"]\nkrr_reg = 1e-3',
    )
    out, _ = workplace.frepo("run", spec, warnings="error")
    sources = ["distilled", "random", "herding", "k_center", "k_means", "herding_pixels", "full"]
    assert re.findall(r" ipc \d+ +(\w+)  ", out) == sources[:-1]
    assert re.search(r"all images +full ", out)
    found = workplace.rows("SELECT source, predictor, labels, num_models, steps FROM accuracy_table")
    assert {row["source"] for row in found if row["predictor"] == "krr"} == set(sources) - {"full"}
    assert {row["labels"] for row in found if row["source"] == "distilled"} == {"soft"}
    assert {row["labels"] for row in found if row["source"] != "distilled"} == {"hard"}
    # A fifth of 1,437 images is held out, class by class, so that full trains on 1,150: 2 passes in batches of 500.
    assert {row["steps"] for row in found if row["source"] == "full"} == {5}
    images = {
        name: np.load(workplace.stage("tiny", name) / "distilled.npz")["images"]
        for name in ("random", "herding", "k_center", "k_means", "herding_pixels")
    }
    assert len({array.tobytes() for array in images.values()}) == len(images), "each chooses its own images"
    confusions = workplace.rows("SELECT stage, model, predictor, sum(count)::INT AS n FROM confusions GROUP BY ALL")
    assert {row["n"] for row in confusions} == {360}
    correct = workplace.rows(
        "SELECT max(abs(c.right / 360.0 - e.top1)) AS gap FROM evaluations e JOIN (SELECT stage, model, predictor, "
        "sum(CASE WHEN label = predicted THEN count ELSE 0 END) AS right FROM confusions GROUP BY ALL) c "
        "USING (stage, model, predictor)",
    )
    assert correct[0]["gap"] < 1e-9
    curve = workplace.rows("SELECT step, value FROM metrics WHERE name = 'test_accuracy' AND stage LIKE '%herding-%'")
    assert [row["step"] for row in curve] == [3, 7, 11, 15, 19]
    last = workplace.rows("SELECT top1_mean FROM accuracy_table WHERE source = 'herding' AND predictor = 'network'")
    assert curve[-1]["value"] == pytest.approx(last[0]["top1_mean"])


def test_a_network_comes_out_the_same_beside_others_and_alone(workplace):
    for number in (1, 3):
        spec = workplace.spec(f"of{number}", application=f'type = "evaluate"\n{QUICK}'.replace("= 2", f"= {number}", 1))
        workplace.frepo("run", spec)
    one, *_ = workplace.rows("SELECT top1 FROM evaluations WHERE run = 'of1' ORDER BY model")
    first, second, _ = workplace.rows("SELECT top1 FROM evaluations WHERE run = 'of3' ORDER BY model")
    assert one == first
    assert first != second


def is_share(score, of, networks=2):
    return abs(score * of * networks - round(score * of * networks)) < 1e-6


def test_the_learning_rate_is_chosen_on_held_out_images_and_a_diverged_candidate_loses(workplace):
    recipe = QUICK.replace("learning_rate = 3e-3", "learning_rates = [1e-6, 3e-3, 100.0]")
    recipe += 'optimizer = "sgd"\n'
    spec = workplace.spec(distill=DISTILL, application=f'type = "evaluate"\n{recipe}')
    _, err = workplace.frepo("run", spec)
    assert "this candidate counts as the worst" in err
    scores = {}
    for path in workplace.path.glob("runs/tiny/tune-distilled-*/tuning.json"):
        rate = json.loads((path.parent / "stage.json").read_text())["identity"]["recipe"]["learning_rate"]
        scores[rate] = json.loads(path.read_text())["validation_accuracy"]
    assert scores[100.0] == 0
    assert scores[3e-3] > scores[1e-6] > 0
    (row, _) = workplace.rows("SELECT learning_rate FROM evaluations")
    assert row["learning_rate"] == 3e-3
    # Every number of the choice is a share of the held-out images, and not of the 360 test images.
    _, held_out = split(0.2, read_digits().train_labels)
    shares = [score for score in scores.values() if score]
    assert all(is_share(score, len(held_out)) for score in shares)
    assert not all(is_share(score, 360) for score in shares)
    changed = workplace.frepo("plan", spec, "--set", "application.0.learning_rates=[1e-6, 3e-3]")[0]
    assert changed.count("done") == 3, changed


def test_several_architectures_make_a_matrix(workplace):
    crossed = (
        f'type = "cross_architecture"\n{QUICK}baselines = ["random"]\nnormalizations = ["identity", "instance"]\n'
        'architectures = [{ width = 8, depth = 2 }, { type = "dcconv", width = 8, depth = 2 }]'
    )
    spec = workplace.spec(application=crossed)
    workplace.frepo("run", spec, warnings="error")
    found = workplace.rows("SELECT architecture, normalization, source FROM cross_architecture")
    assert len(found) == 8
    assert len({tuple(row.values()) for row in found}) == 8
    workplace.frepo("report", "tiny")
    page = (workplace.path / "reports" / "tiny.html").read_text()
    assert "Across architectures" in page
    assert page.count('<th scope="row">dcconv width 8 depth ') == 2
    assert "Top-1 across architectures" in page


def test_fair_scores_come_out_of_their_six_evaluations(workplace):
    fair = QUICK.replace("augmentation = []", 'augmentation = ["rotate"]')
    spec = workplace.spec(application=f'type = "fair_scores"\n{fair}full_epochs = 2\nloss = "soft_xent"')
    workplace.frepo("run", spec)
    scores = {row["name"]: row["value"] for row in workplace.rows("SELECT name, value FROM scores")}
    mean = {
        (row["source"], row["labels"], row["augmentation"]): row["top1_mean"]
        for row in workplace.rows("SELECT source, labels, augmentation, top1_mean FROM accuracy_table")
    }
    recovery = mean["full", "hard", "rotate"] - mean["distilled", "hard", "rotate"]
    improvement = mean["distilled", "soft", "rotate"] - mean["random", "hard", "rotate"]
    plain = mean["distilled", "soft", "none"] - mean["random", "hard", "none"]
    assert scores["hard_label_recovery"] == pytest.approx(recovery)
    assert scores["improvement_over_random"] == pytest.approx(improvement)

    def robust(x):
        return (np.exp(x) - np.exp(-1)) / (np.e - np.exp(-1))

    assert scores["label_robust_score"] == pytest.approx(robust((improvement - recovery) / 2))
    assert scores["augmentation_robust_score"] == pytest.approx(robust((improvement + plain) / 2))
    workplace.frepo("report", "tiny")
    assert "label robust score" in (workplace.path / "reports" / "tiny.html").read_text()


def test_all_real_images_are_evaluated_without_being_copied(workplace):
    spec = workplace.spec(distill='method = "full"\nepochs = 2', pool=None, application=f'type = "evaluate"\n{QUICK}')
    out, _ = workplace.frepo("run", spec, warnings="error")
    assert "all images  full" in out
    assert {path.name[:13] for path in (workplace.path / "runs" / "tiny").iterdir() if path.is_dir()} == {
        "evaluate-full"
    }
    host = workplace.spec(
        "host", distill='method = "full"\nepochs = 2', pool=None, application=f'type = "evaluate"\n{QUICK}'
    )
    workplace.frepo("run", host, "--residency", "host")
    (one, other) = workplace.rows("SELECT any_value(top1_mean) AS m FROM accuracy_table GROUP BY name")
    assert one == other


@pytest.fixture
def checkpoint(workplace):
    """Distil, and write what came out as the paper's code would: Flax's msgpack with the optimiser beside it."""
    spec = workplace.spec("made")
    workplace.frepo("run", spec)
    with np.load(workplace.stage("made", "frepo") / "distilled.npz") as arrays:
        images, labels = arrays["images"], arrays["labels"]
    state = {"step": 60, "params": {"x_proto": images, "y_proto": labels}, "opt_state": {"0": {"mu": images * 0}}}
    folder = workplace.path / "saved"
    folder.mkdir()
    (folder / "checkpoint_55.1").write_bytes(serialization.msgpack_serialize(state))
    worse = {**state, "params": {"x_proto": images * 0, "y_proto": labels}}
    (folder / "checkpoint_9.9").write_bytes(serialization.msgpack_serialize(worse))
    return folder


def test_an_imported_set_gives_what_it_gave_where_it_was_made(workplace, checkpoint):
    spec = workplace.spec("imported")
    out, err = workplace.frepo("import", checkpoint, "--spec", spec)
    assert "checkpoint_55.1" in err
    assert "imported  digits  ipc 1  distilled" in out
    top1 = "SELECT top1, top5 FROM evaluations WHERE run = '{}' AND source = 'distilled' ORDER BY model"
    assert workplace.rows(top1.format("imported")) == workplace.rows(top1.format("made"))
    (run,) = workplace.rows("SELECT method, ipc, status, overrides FROM runs WHERE name = 'imported'")
    assert (run["method"], run["ipc"], run["status"]) == ("imported", 1, "done")
    again = workplace.frepo("import", checkpoint, "--spec", spec)[1]
    assert "nothing to compute" in again
    # What was recorded repeats it without the file.
    overrides = [word for override in run["overrides"] for word in ("--set", override)]
    assert "nothing to compute" in workplace.frepo("run", spec, *overrides)[1]
    more = workplace.frepo("run", spec, *overrides, "--set", "application.0.num_models=1")[1]
    assert "done already" in more


def test_what_does_not_fit_the_spec_is_refused_before_anything_is_written(workplace, checkpoint):
    spec = workplace.spec("other", distill='method = "frepo"\nipc = 3\nsteps = 60')
    _, err = workplace.frepo("import", checkpoint, "--spec", spec, code=1)
    assert "ipc" in err
    assert not (workplace.path / "runs" / "other").exists()
    pickled = workplace.path / "set.pt"
    pickled.write_bytes(b"\x80\x02}q\x00.")
    _, err = workplace.frepo("import", pickled, "--spec", spec, code=1)
    assert "pickle" in err
    _, err = workplace.frepo("import", workplace.path / "nowhere", "--spec", spec, code=1)
    assert "nowhere" in err


def test_imported_pixels_go_through_the_preprocessing_of_the_spec(workplace):
    spec = workplace.spec("chosen", distill='method = "random"\nipc = 1', pool=None)
    workplace.frepo("run", spec)
    with np.load(workplace.stage("chosen", "random") / "distilled.npz") as arrays:
        inputs, classes = arrays["images"], arrays["classes"]
    from frepo.data.preprocess import fit_preprocess
    from frepo.data.sources.digits import read_digits
    from frepo.spec import Standardize

    fitted = fit_preprocess(Standardize(type="standardize"), "digits", read_digits().train_images)
    np.savez(workplace.path / "pixels.npz", images=np.clip(fitted.invert(inputs), 0, 1), labels=classes)
    workplace.frepo("import", "pixels.npz", "--spec", workplace.spec("pixels"), "--pixels")
    with np.load(workplace.stage("pixels", "imported") / "distilled.npz") as arrays:
        np.testing.assert_allclose(arrays["images"], inputs, atol=1e-5)
        np.testing.assert_allclose(arrays["labels"], np.eye(10)[classes] - 0.1, atol=1e-6)


def test_a_set_that_pytorch_saved_is_the_one_that_numpy_saved(workplace):
    torch = pytest.importorskip("torch")
    images, classes = np.random.default_rng(0).random((10, 1, 8, 8), np.float32), np.arange(10)
    np.savez(workplace.path / "set.npz", images=images.transpose(0, 2, 3, 1), labels=classes)
    torch.save(torch.from_numpy(images), workplace.path / "images_best.pt")
    torch.save(torch.from_numpy(classes), workplace.path / "labels_best.pt")
    spec = workplace.spec("set", distill='method = "random"\nipc = 1', pool=None)
    workplace.frepo("import", "set.npz", "--spec", spec, "--pixels")
    for more in ((), ("--labels", "labels_best.pt", "--layout", "nchw")):
        _, err = workplace.frepo("import", "images_best.pt", "--spec", spec, "--pixels", *more)
        assert (
            "images are the tensor of images_best.pt and labels the tensor in labels_best.pt of labels_best.pt" in err
        )
        assert "images_best.pt: it is one tensor, as MTT, DATM and DD-Ranking save images" in err
        assert "nothing to compute" in err
    _, err = workplace.frepo("import", "images_best.pt", "--spec", spec, "--pixels", "--layout", "nhwc", code=1)
    assert err.endswith("images_best.pt holds images of the shape (10, 1, 8, 8), which are not nhwc\n")
    _, err = workplace.frepo("import", "images_best.pt", "--spec", spec, "--pixels", "--logits", code=1)
    assert "labels_best.pt holds class numbers, which --logits does not suit" in err

"""Plans of class-incremental learning, and memories put together; no stage may know of what comes later."""

import numpy as np
import pytest

from frepo.applications.continual import united
from frepo.data.load import load_dataset, load_test_set
from frepo.data.sources.digits import read_digits
from frepo.methods.base import DistilledData
from frepo.plan import ContinualStage, DistillStage, compile_plan
from frepo.spec import Dataset, ExperimentSpec


def plan(distill=None, preprocess="standardize", **fields):
    application = {"type": "continual", "num_steps": 5, "num_classes": 10, "baselines": ["random", "full"], **fields}
    return compile_plan(
        ExperimentSpec.model_validate(
            {
                "name": "small",
                "dataset": {"name": "digits", "preprocess": {"type": preprocess}},
                "distill": distill or {"method": "frepo", "ipc": 2},
                "application": [application],
            }
        )
    )


def of_kind(compiled, kind):
    return [stage for stage in compiled.stages if isinstance(stage.work, kind)]


def test_each_step_distils_once_and_each_evaluation_needs_the_steps_so_far():
    compiled = plan(seeds=[3, 4])
    learned = [stage for stage in of_kind(compiled, DistillStage) if stage.work.distill.method == "frepo"]
    assert [stage.label for stage in learned] == [f"frepo-seed{s}-step{k}" for s in (3, 4) for k in range(1, 6)]
    assert [stage.work.seed for stage in learned] == [3] * 5 + [4] * 5
    evaluated = [stage for stage in of_kind(compiled, ContinualStage) if stage.work.source == "distilled"]
    for stage in evaluated:
        assert [need.label for need in stage.needs] == [
            f"frepo-seed{stage.work.seed}-step{k}" for k in range(1, stage.work.step + 1)
        ]
    assert len(evaluated) == 10
    assert len(compiled.stages) == 2 * (5 + 5 + 15), "nothing is distilled from all classes"


@pytest.mark.parametrize("orders", [None, [[9, 8, 7, 6, 5, 4, 3, 2, 1, 0], [0, 2, 4, 6, 8, 1, 3, 5, 7, 9]]])
def test_no_stage_is_given_a_class_that_comes_later(orders):
    compiled = plan(seeds=[0, 1], class_orders=orders, num_classes=None) if orders else plan(seeds=[0, 1])
    for seed in (0, 1):
        courses = [s for s in of_kind(compiled, ContinualStage) if s.work.seed == seed and s.work.source == "full"]
        order = courses[-1].work.dataset.classes
        assert sorted(order) == list(range(10))
        if orders:
            assert list(order) == orders[seed]
        for stage in compiled.stages:
            if stage.work.seed != seed:
                continue
            step = int(stage.label.rsplit("step", 1)[1])
            assert stage.work.dataset.preprocess.fitted_to == order[:2], "known from the first step on"
            assert stage.work.dataset.label_classes == 10, "how many there will be"
            if isinstance(stage.work, DistillStage):
                assert stage.work.dataset.classes == order[2 * step - 2 : 2 * step], "its own classes only"
            else:
                assert stage.work.dataset.classes == order[: 2 * step], "the classes seen so far"
                assert all(int(need.label.rsplit("step", 1)[1]) <= step for need in stage.needs)


def test_what_a_stage_reads_does_not_change_with_images_of_later_classes_or_of_the_test_set(monkeypatch, tmp_path):
    """Spoil everything a stage may not know, and hold what it trains on against that of before."""
    digits = read_digits()
    stages = [*of_kind(plan(preprocess="zca"), DistillStage), *of_kind(plan(preprocess="zca"), ContinualStage)]
    chosen = [s for s in stages if s.label in ("frepo-seed0-step2", "random-seed0-step1", "continual-full-seed0-step2")]
    assert len(chosen) == 3
    for number, stage in enumerate(chosen):
        table = stage.work.dataset
        allowed = set(table.classes) | set(table.preprocess.fitted_to)
        before = load_dataset(table, tmp_path, tmp_path / f"before{number}")
        spoiled = digits.train_images.copy()
        spoiled[~np.isin(digits.train_labels, list(allowed))] = 255
        changed = {
            "train_images": spoiled,
            "train_labels": digits.train_labels,
            "test_images": 255 - digits.test_images,
            "test_labels": digits.test_labels,
            "class_names": digits.class_names,
        }
        with monkeypatch.context() as patch:
            other = type(digits)(**changed)
            patch.setattr("frepo.data.load.read_digits", lambda other=other: other)
            _forget()
            after = load_dataset(table, tmp_path, tmp_path / f"after{number}")
        _forget()
        np.testing.assert_array_equal(before.train_images, after.train_images)
        np.testing.assert_array_equal(before.train_labels, after.train_labels)
        np.testing.assert_array_equal(before.preprocess.whiten, after.preprocess.whiten)
        assert not np.array_equal(before.test_images, after.test_images), "the test set was spoiled indeed"


def test_networks_on_memories_are_tested_where_there_is_no_training_image(tmp_path):
    table = of_kind(plan(preprocess="zca"), ContinualStage)[1].work.dataset
    whole, tested = (load(table, tmp_path, tmp_path) for load in (load_dataset, load_test_set))
    assert (len(tested.train_images), len(tested.train_labels)) == (0, 0)
    assert tested.train_images.shape[1:] == whole.train_images.shape[1:]
    np.testing.assert_array_equal(tested.test_images, whole.test_images)
    np.testing.assert_array_equal(tested.test_labels, whole.test_labels)
    assert tested.info == whole.info


def _forget():
    from frepo.data import load

    for function in (load.load_dataset, load._load_selected, load._load_raw):
        function.cache_clear()


def test_a_drawn_order_depends_on_the_seed_alone():
    one, other = (of_kind(plan(seeds=[seed]), ContinualStage)[-1].work.dataset.classes for seed in (0, 1))
    assert one == of_kind(plan(seeds=[5, 0]), ContinualStage)[-1].work.dataset.classes
    assert one != other
    assert sorted(one) == list(range(10))


def test_a_changed_evaluation_keeps_what_was_distilled_and_new_seeds_distil_only_theirs():
    before = {stage.fingerprint for stage in plan(seeds=[0]).stages}
    longer = plan(seeds=[0], num_models=2)
    assert {s.label.split("-")[0] for s in longer.stages if s.fingerprint not in before} == {"continual"}
    more = plan(seeds=[0, 1])
    assert {s.work.seed for s in more.stages if s.fingerprint not in before} == {1}
    assert before <= {s.fingerprint for s in more.stages}


def test_labels_of_a_part_of_the_classes_are_those_of_all_of_them(tmp_path):
    info = load_dataset(Dataset(name="digits", classes=(3, 5), label_classes=10), tmp_path, tmp_path).info
    assert (info.num_classes, info.label_classes) == (2, 10)
    assert load_dataset(Dataset(name="digits", classes=(3, 5)), tmp_path, tmp_path).info.label_classes == 2
    with pytest.raises(ValueError, match="label_classes = 2 is less than the 3 classes used"):
        Dataset(name="digits", classes=(3, 5, 7), label_classes=2)
    with pytest.raises(ValueError, match="label_classes needs classes"):
        Dataset(name="digits", label_classes=20)


def test_memories_put_together_are_labelled_as_a_part_of_all_classes():
    random = np.random.default_rng(0)
    for scale in (1.0, 2.2360680):
        memories = [
            DistilledData(
                random.normal(size=(4, 2, 2, 1)).astype(np.float32),
                np.float32(scale) * (np.eye(2, dtype=np.float32)[[0, 0, 1, 1]] - np.float32(0.1)),
            )
            for _ in range(3)
        ]
        found = united(memories, 10)
        np.testing.assert_array_equal(found.images, np.concatenate([memory.images for memory in memories]))
        expected = scale * (np.eye(6)[np.repeat(np.arange(6), 2)] - 1 / 10)
        np.testing.assert_allclose(found.labels, expected, atol=1e-6)
        assert found.labels.dtype == np.float32
    assert united([], 10) is None


def test_what_was_learned_of_labels_is_kept():
    labels = np.array([[0.7, -0.4], [-0.3, 0.5]], np.float32)
    found = united([DistilledData(np.zeros((2, 1, 1, 1), np.float32), labels)] * 2, 4).labels
    np.testing.assert_array_equal(found[:2, :2], labels)
    np.testing.assert_array_equal(found[2:, 2:], labels)
    np.testing.assert_allclose(found[:2, 2:], -0.6 / 0.75 / 4, rtol=1e-6)
    assert (found.argmax(axis=1) == [0, 1, 2, 3]).all()


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"num_classes": None}, "set either num_classes"),
        ({"class_orders": [[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]]}, "set either num_classes"),
        ({"num_classes": None, "class_orders": [[0, 1]] * 2}, "2 orders for 1 seeds"),
        ({"num_classes": None, "class_orders": [[0, 0, 1, 2, 3, 4, 5, 6, 7, 8]]}, "names an entry twice"),
        ({"num_classes": 11}, "11 classes cannot be split into 5 tasks"),
        ({"num_classes": 5}, "5 classes cannot be split into 5 tasks of two or more classes"),
        ({"seeds": [0, 0]}, "names an entry twice"),
        ({"learning_rates": [0.1]}, "learning_rates is not read by this application"),
        ({"distill": {"method": "imported", "ipc": 1, "sha256": "0" * 64}}, "which imported images are not"),
    ],
)
def test_a_course_that_cannot_be_is_refused(fields, reason):
    with pytest.raises(ValueError, match=reason):
        plan(**fields)

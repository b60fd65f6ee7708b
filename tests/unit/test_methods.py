"""The seam of methods: what their tables say of them, and what they may leave beside images and labels."""

from collections.abc import Callable

import numpy as np
import pytest
from pydantic import ValidationError

from frepo.data.load import load_dataset
from frepo.engine.journal import Journal
from frepo.methods import stage as stages
from frepo.methods.base import Job, Result
from frepo.methods.chosen import real_images
from frepo.plan import compile_plan
from frepo.rundir.arrays import read_npz
from frepo.runtime import Cadence, RuntimeOptions
from frepo.spec import ExperimentSpec, RandomSelection, RatBptt, method_tables


@pytest.mark.parametrize("table", sorted(set(method_tables().values()), key=lambda table: table.__name__))
def test_every_method_names_code_that_is_there_and_is_loaded_when_it_is_used(table):
    assert isinstance(table.load(table), Callable)
    assert table.version >= 1
    assert (table.learned == "here") == bool(table.citation) == bool(table.metrics)
    if table.learned == "here":
        assert "steps" in table.model_fields


def test_no_two_methods_have_a_metric_of_one_name_which_a_page_would_draw_for_both():
    names = [name for table in set(method_tables().values()) for name in table.metrics]
    assert len(set(names)) == len(names)
    assert "loss" not in names  # FRePo's, DM's and RCIG's sum of all terms is in the database, and is not drawn


def test_further_learned_arrays_lie_beside_images_and_labels_by_name(tmp_path, monkeypatch):
    spec = ExperimentSpec(name="x", dataset={"name": "digits"}, distill={"method": "random", "ipc": 1})
    (stage,) = compile_plan(spec).stages
    dataset, rates = load_dataset(spec.dataset, tmp_path, tmp_path), np.arange(3, dtype=np.float32)

    def learns_rates(job):
        return Result(real_images(job.work, job.dataset), further={"rates": rates})

    monkeypatch.setattr(RandomSelection, "load", lambda _: learns_rates)
    journal = Journal(tmp_path, "random", Cadence.parse("1000"), None, lambda *_: None)
    stages.distill(Job(stage, dataset, RuntimeOptions(runs_dir=tmp_path)), journal)
    (found,) = read_npz(tmp_path / "distilled.npz", ("rates",), "")
    np.testing.assert_array_equal(found, rates)
    assert stages.read_distilled(tmp_path).images.shape == (10, 8, 8, 1)
    assert journal.budget_bytes == (10 * 8 * 8 + len(rates)) * 4  # of labels of real images nothing


def test_a_new_version_of_a_method_is_another_stage_of_its_own_data_only(monkeypatch):
    def fingerprints():
        spec = {"name": "x", "dataset": {"name": "digits"}, "distill": {"method": "frepo", "ipc": 1}}
        application = {"type": "evaluate", "baselines": ["random"]}
        found = compile_plan(ExperimentSpec.model_validate({**spec, "application": [application]}))
        return {stage.label: stage.fingerprint for stage in found.stages}

    before = fingerprints()
    monkeypatch.setattr(method_tables()["frepo"], "version", 99)
    after = fingerprints()
    assert {label for label in before if before[label] != after[label]} == {"frepo", "evaluate-distilled"}


def test_distribution_matching_mirrors_no_digits_and_reads_no_pool():
    spec = {"name": "x", "dataset": {"name": "digits"}, "distill": {"method": "dm", "ipc": 1}}
    (digits,) = compile_plan(ExperimentSpec.model_validate(spec)).stages
    assert digits.work.distill.augmentation == ("color", "crop", "cutout", "scale", "rotate")
    assert digits.work.architecture is not None
    assert digits.work.pool is None
    (photos,) = compile_plan(ExperimentSpec.model_validate({**spec, "dataset": {"name": "cifar10"}})).stages
    assert set(photos.work.distill.augmentation) == {*digits.work.distill.augmentation, "flip"}
    with pytest.raises(ValidationError, match="is read by method = 'frepo' and 'rcig' only"):
        ExperimentSpec.model_validate({**spec, "pool": {"size": 2}})
    with pytest.raises(ValidationError, match="names an entry twice"):
        ExperimentSpec.model_validate({**spec, "distill": {**spec["distill"], "augmentation": ["crop", "crop"]}})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"window": 201}, "window = 201 is more than total = 200"),
        ({"window_change": 3}, "window_change is read with placement = 'adaptive' only"),
        ({"placement": "adaptive", "window": 10}, "window_change = 10 leaves nothing of window = 10"),
        ({"placement": "adaptive", "window": 195}, r"window \+ window_change = 205 is more than total = 200"),
    ],
)
def test_a_window_that_does_not_fit_is_refused(fields, message):
    with pytest.raises(ValidationError, match=message):
        RatBptt.model_validate({"method": "rat_bptt", "ipc": 1, **fields})


def test_an_adaptive_window_changes_and_others_do_not():
    tables = [RatBptt(method="rat_bptt", ipc=1, placement=name) for name in ("random", "end", "adaptive")]
    assert [table.longest_window for table in tables] == [60, 60, 70]
    assert [tables[0].resolved(name).augmentation for name in ("mnist", "cifar10")] == [("rotate",), ("flip", "rotate")]

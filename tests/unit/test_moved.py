"""Folders of images that move: a data set is its pixels and labels, wherever and however they are stored."""

import json

import numpy as np
import pytest
from PIL import Image

from frepo.data import load as loading
from frepo.data.load import load_info
from frepo.errors import FrepoError
from frepo.exchange.export.find import find_run, find_stage
from frepo.exchange.export.run import export_run
from frepo.execute import runner
from frepo.rundir import record
from frepo.runtime import RuntimeOptions
from frepo.spec import Dataset, load_spec

SPEC = """
name = "moving"
[dataset]
name = "image_folder"
path = "{path}"
preprocess = {{ type = "{preprocess}" }}
[distill]
method = "random"
ipc = 1
"""


def write_folder(folder, seed=0):
    """Write two classes of two images for training and one for testing."""
    random = np.random.default_rng(seed)
    for split, count in (("train", 2), ("test", 1)):
        for name in ("cat", "dog"):
            (folder / split / name).mkdir(parents=True)
            for number in range(count):
                pixels = random.integers(0, 256, (4, 4, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / split / name / f"{number}.png")


@pytest.fixture
def run(tmp_path):
    """Return what runs the spec, without applications, on the folder `path`."""
    options = RuntimeOptions(runs_dir=tmp_path / "runs", database=tmp_path / "results.duckdb", compile_cache=False)

    def run(path, preprocess="standardize"):
        (tmp_path / "spec.toml").write_text(SPEC.format(path=path, preprocess=preprocess))
        return runner.run([load_spec(tmp_path / "spec.toml", ("application=[]",))], options)

    run.options = options
    return run


def test_a_moved_folder_is_the_same_data_set_and_goes_on(run, tmp_path):
    write_folder(tmp_path / "photos")
    run_ids = run(tmp_path / "photos")
    (stage,) = (tmp_path / "runs" / "moving").glob("random-*")
    record.write_record(stage / record.STAGE_FILE, record.read_stage(stage).model_copy(update={"status": "stopped"}))
    (tmp_path / "photos").rename(tmp_path / "elsewhere")
    assert run(f"{tmp_path}/./elsewhere/") == run_ids
    (stage,) = (tmp_path / "runs" / "moving").glob("random-*")
    found = record.read_stage(stage)
    assert (found.status, len(found.attempts)) == ("done", 2)
    assert found.identity["dataset"]["path"] == f"{tmp_path}/./elsewhere/"
    export_run("moving", "npz", tmp_path / "exported", run.options)
    assert (tmp_path / "exported" / "data.npz").is_file()


def test_a_finished_run_is_exported_from_where_its_images_lie_by_now(run, tmp_path):
    write_folder(tmp_path / "photos")
    run(tmp_path / "photos")
    (path,) = (tmp_path / "runs" / "moving").glob("run-*.json")
    content = json.loads(path.read_text())
    del content["sha256"]  # as earlier versions wrote records
    content["spec"]["dataset"]["path"] = "moved"
    path.write_text(json.dumps(content))
    found = find_stage(*find_run(run.options.runs_dir, "moving"))
    assert found.dataset.path == "moved"
    assert not found.is_part


def test_images_that_were_whitened_in_another_way_are_not_exported(run, tmp_path):
    write_folder(tmp_path / "photos")
    run(tmp_path / "photos", preprocess="zca")
    (stage,) = (tmp_path / "runs" / "moving").glob("random-*")
    export_run("moving", "npz", tmp_path / "exported", run.options)
    found = record.read_stage(stage)
    old = found.model_copy(update={"identity": {**found.identity, "numerics_version": 3}})
    record.write_record(stage / record.STAGE_FILE, old)
    with pytest.raises(FrepoError, match=r"whitened fewer images \(4\) than dimensions \(48\) in another way"):
        export_run("moving", "npz", tmp_path / "again", run.options)


def test_other_images_at_another_path_are_not_taken_for_those_of_before(run, tmp_path):
    write_folder(tmp_path / "photos")
    write_folder(tmp_path / "others", seed=1)
    run(tmp_path / "photos")
    (stage,) = (tmp_path / "runs" / "moving").glob("random-*")
    record.write_record(stage / record.STAGE_FILE, record.read_stage(stage).model_copy(update={"status": "stopped"}))
    with pytest.raises(FrepoError, match="was computed from other images"):
        run(tmp_path / "others")


@pytest.mark.parametrize("fields", [{}, {"classes": (1, 0)}, {"train_fraction": 0.5}], ids=str)
def test_the_format_of_the_cache_is_no_part_of_a_data_set(monkeypatch, tmp_path, fields):
    write_folder(tmp_path / "photos")
    table = Dataset(name="image_folder", path=str(tmp_path / "photos"), **fields)
    before = load_info(table, tmp_path, tmp_path / "cache").fingerprint
    monkeypatch.setattr(loading, "FORMAT", 1000)
    for cache in (loading.load_info, loading._load_selected, loading._load_raw):
        cache.cache_clear()
    assert load_info(table, tmp_path, tmp_path / "cache").fingerprint == before
    assert len(list((tmp_path / "cache" / "decoded").iterdir())) == 2


def test_classes_without_images_for_testing_are_refused(tmp_path):
    write_folder(tmp_path / "photos")
    for name in ("ant", "bee"):
        (tmp_path / "photos" / "train" / "cat").rename(tmp_path / "photos" / "train" / name)
        write_folder(tmp_path / name)
        (tmp_path / name / "train" / "cat").rename(tmp_path / "photos" / "train" / "cat")
    table = Dataset(name="image_folder", path=str(tmp_path / "photos"), classes=(0, 1))
    with pytest.raises(FrepoError, match="image_folder has no test images of ant, bee"):
        load_info(table, tmp_path, tmp_path / "cache")

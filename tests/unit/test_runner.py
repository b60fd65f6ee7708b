"""What a run skips, refuses, records and sets aside: stages that only choose images, so that nothing is trained."""

import os
import stat
import subprocess
import sys
from contextlib import ExitStack
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from frepo.data.outside import mark_of_files
from frepo.engine.journal import Journal
from frepo.errors import FrepoError, Interrupted, SpecsFailedError
from frepo.execute import stages, walk
from frepo.execute.graph import Graph
from frepo.execute.several import Failures
from frepo.plan import compile_plan
from frepo.rundir import record, status
from frepo.rundir.directory import set_damaged_aside
from frepo.rundir.layout import take_over
from frepo.rundir.lease import held
from frepo.rundir.status import damage, is_done, outlook
from frepo.runtime import Cadence
from frepo.spec import Dataset, load_spec
from frepo.store.query import query


@pytest.fixture
def folder(tmp_path):
    """A folder of two classes, two grey images each for training and one for testing."""
    for split, count in (("train", 2), ("test", 1)):
        for label, name in enumerate(("cat", "dog")):
            (tmp_path / "images" / split / name).mkdir(parents=True)
            for index in range(count):
                write_image(tmp_path / "images" / split / name / f"{index}.png", 100 * label + index)
    return tmp_path / "images"


def write_image(path, value):
    Image.fromarray(np.full((8, 8), value, np.uint8)).save(path)


def test_a_finished_run_of_other_images_is_not_finished(place, folder):
    spec = place.spec(images=folder)
    place.run(spec)
    assert "finished already" in place.run(spec)[1]
    write_image(folder / "train" / "cat" / "0.png", 50)
    with pytest.raises(FrepoError, match="computed from other images: data set image_folder has changed since"):
        place.run(spec)
    _, said = place.run(spec, fresh=True)
    assert "set aside" in said
    assert "finished already" in place.run(spec)[1]


def test_files_that_only_look_different_are_read_once(place, folder):
    spec = place.spec(images=folder)
    (run_id,), _ = place.run(spec)
    os.utime(folder / "train" / "cat" / "0.png", ns=(1, 1))
    assert "decoding" in place.run(spec)[1]
    ran, said = place.run(spec)
    assert ran == [run_id]
    assert "finished already" in said
    decoded = place.options.cache_dir / "decoded"
    entries = sorted(decoded.iterdir())
    for entry in entries:
        entry.rename(entry.with_suffix(".away"))
    assert "decoding" not in place.run(spec)[1]


def test_a_finished_run_is_finished_where_its_data_is_not(place, folder):
    spec = place.spec(images=folder)
    place.run(spec)
    folder.rename(folder.with_name("elsewhere"))
    assert "finished already" in place.run(spec)[1]


def test_a_finished_run_of_an_earlier_version_is_compared_once(place):
    spec = place.spec()
    place.run(spec)
    _, directory = place.stage(spec)
    written = record.read_stage(directory)
    record.write_record(directory / record.STAGE_FILE, written.model_copy(update={"data_files": None, "results": {}}))
    assert "finished already" in place.run(spec)[1]
    assert record.read_stage(directory).data_files == written.data_files
    other = {**written.dataset, "fingerprint": "0" * 64}
    record.write_record(
        directory / record.STAGE_FILE, written.model_copy(update={"data_files": None, "dataset": other})
    )
    with pytest.raises(FrepoError, match="data set digits has changed since"):
        place.run(spec)


FINISHED = """
import sys
from pathlib import Path
from frepo.execute import runner
from frepo.runtime import RuntimeOptions
from frepo.spec import load_spec
runner.run([load_spec(Path("small.toml"))], RuntimeOptions())
heavy = {"jax", "numpy", "scipy", "sklearn", "tensorflow_datasets", "frepo.data.load"} & set(sys.modules)
assert not heavy, heavy
"""


def test_a_finished_run_is_recognised_without_what_takes_long_to_start(place):
    place.run(place.spec())
    done = subprocess.run([sys.executable, "-c", FINISHED], cwd=place.path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "finished already" in done.stderr


@pytest.mark.parametrize("name", ["cifar10", "cifar10:3.0.2", "imagenet_resized/32x32", "tiny_imagenet"])
def test_files_have_another_mark_when_one_is_other(tmp_path, name):
    table = Dataset.model_validate({"name": name})
    assert mark_of_files(table, tmp_path) is None
    directory = tmp_path / name.partition(":")[0] / ("frepo" if name == "tiny_imagenet" else "3.0.2")
    directory.mkdir(parents=True)
    file = directory / "index.json"
    file.write_text("12")
    os.utime(file, ns=(5, 5))
    marks = [mark_of_files(table, tmp_path)]
    file.write_text("123")
    os.utime(file, ns=(5, 5))
    marks.append(mark_of_files(table, tmp_path))
    os.utime(file, ns=(5, 6))
    marks.append(mark_of_files(table, tmp_path))
    assert len({None, *marks}) == 4
    (tmp_path / "other").mkdir()
    assert mark_of_files(table, tmp_path) == marks[-1]
    (tmp_path / "moved").mkdir()
    (tmp_path / name.split("/")[0].partition(":")[0]).rename(tmp_path / "moved" / name.split("/")[0].partition(":")[0])
    assert mark_of_files(table, tmp_path / "moved") == marks[-1]


def test_links_are_followed_but_not_in_circles(tmp_path, folder):
    table = Dataset.model_validate({"name": "image_folder", "path": str(folder)})
    outside = tmp_path / "outside"
    outside.mkdir()
    (folder / "train" / "linked").symlink_to(outside)
    (folder / "train" / "circle").symlink_to(folder)
    (folder / "train" / "nowhere").symlink_to(tmp_path / "nothing")
    (folder / "train" / os.fsdecode(b"\xff")).mkdir()
    before = mark_of_files(table, tmp_path)
    write_image(outside / "0.png", 7)
    assert before is not None
    assert mark_of_files(table, tmp_path) != before


def spoil_empty(path):
    path.write_bytes(b"")


def spoil_cut(path):
    path.write_bytes(path.read_bytes()[:-1])


def spoil_byte(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


SPOILT = {spoil_empty: "empty", spoil_cut: "not what was written", spoil_byte: "not what was written"}


@pytest.mark.parametrize(("spoil", "words"), [*SPOILT.items(), (lambda path: path.unlink(), "missing")])
def test_a_finished_stage_whose_result_is_lost_is_set_aside_and_computed_again(place, spoil, words):
    spec = place.spec()
    place.run(spec)
    stage, directory = place.stage(spec)
    result = directory / record.DISTILLED
    whole = result.read_bytes()
    spoil(result)
    spoilt = result.read_bytes() if result.exists() else None
    assert not is_done(stage, place.options.runs_dir)
    assert damage(stage, place.options.runs_dir) == f"distilled.npz is {words}"
    (seen,) = outlook(compile_plan(spec.spec), place.options.runs_dir)
    assert seen.status == f"to compute again: distilled.npz is {words}"
    _, said = place.run(spec)
    assert f"distilled.npz is {words}; set aside as .{stage.place}.replaced-1" in said
    assert is_done(stage, place.options.runs_dir)
    assert result.read_bytes() == whole
    aside = directory.with_name(f".{stage.place}.replaced-1") / record.DISTILLED
    assert (aside.read_bytes() if aside.exists() else None) == spoilt
    assert "finished already" in place.run(spec)[1]


@pytest.mark.parametrize("name", [record.EVALUATIONS, record.CONFUSIONS])
def test_result_rows_are_written_whole_and_known_by_their_digest(tmp_path, fake_runs, file_size_limit, name):
    plan, _ = fake_runs()
    take_over(plan, fake_runs.runs_dir)
    stage = next(stage for stage in plan.stages if stage.work.kind == "evaluate")
    directory = fake_runs.directory("small", stage)
    journal = Journal(directory, "x", Cadence(steps=1), None, lambda *_: None)
    rows = [{"top1": 0.5, "model": model} for model in range(3)]
    journal.write_rows(name, rows)
    with file_size_limit(10), pytest.raises(OSError, match="File too large"):
        journal.write_rows(name, rows[:2])
    assert record.read_rows(directory / name) == rows
    found = record.read_stage(directory).model_copy(update={"results": journal.results})
    record.write_record(directory / record.STAGE_FILE, found)
    assert is_done(stage, fake_runs.runs_dir)
    for spoil in SPOILT:
        journal.write_rows(name, rows)
        assert is_done(stage, fake_runs.runs_dir)
        spoil(directory / name)
        assert not is_done(stage, fake_runs.runs_dir)


def test_a_lost_contact_sheet_is_no_reason_to_compute_again(place):
    spec = place.spec()
    place.run(spec)
    stage, directory = place.stage(spec)
    (sheet,) = (directory / record.IMAGES).iterdir()
    sheet.unlink()
    assert is_done(stage, place.options.runs_dir)


def test_a_spec_whose_stages_are_all_done_is_recorded(place):
    evaluated = place.spec(more='[[application]]\ntype = "evaluate"\nnum_models = 1\nsteps = 2\nwarmup_steps = 1\n')
    smaller = load_spec(evaluated.path, ("application=[]",))
    stage, _ = place.stage(smaller)
    assert stage in compile_plan(evaluated.spec).stages
    (first,), _ = place.run(smaller)
    # Another spec of the same stages: the seed of the pool is not read by a method without one.
    other = load_spec(smaller.path, ("application=[]", "architecture.width=4"))
    assert place.stage(other)[0] == stage
    (second,), said = place.run(other)
    assert "finished already" in said
    assert first != second
    found = query(place.options.database, "SELECT run_id, status FROM runs ORDER BY created_at").rows
    assert list(found) == [(first, "done"), (second, "done")]


def test_a_spec_that_cannot_start_is_named_first_and_does_not_keep_the_others(place):
    good, missing, last = (
        place.spec("good"),
        place.spec("missing", place.path / "nothing"),
        place.spec("last"),
    )
    with pytest.raises(SpecsFailedError) as caught:
        place.run(good, missing, last)
    assert caught.value.exit_code == 1
    assert [run_id.rpartition("-")[0] for run_id in caught.value.finished] == ["good", "last"]
    head, line = str(caught.value).splitlines()
    assert head == "1 of 3 specs failed, the others are done:"
    assert line.startswith(f"  {missing.path}: dataset.path: ")
    said = caught.value.said
    assert said.index(f"warning: {missing.path}: dataset.path") < said.index("starts on")
    assert place.status() == {"good": "done", "last": "done"}


def test_a_stage_that_fails_stops_only_what_depends_on_it(place):
    first, same, other = place.spec("first"), place.spec("same"), place.spec("other", top="seed = 1")
    _, directory = place.stage(first)
    directory.mkdir(parents=True)
    (directory / record.IMAGES).touch()  # where a folder is to be
    with pytest.raises(SpecsFailedError) as caught:
        place.run(first, same, other)
    assert caught.value.finished == (compile_plan(other.spec).run_id,)
    head, *lines = str(caught.value).splitlines()
    assert head == "2 of 3 specs failed, the others are done:"
    assert [line.partition(":")[0].strip() for line in lines] == [str(first.path), str(same.path)]
    assert caught.value.said.count("starts on") == 2  # once for the two that share it
    assert place.status() == {"first": "failed", "same": "failed", "other": "done"}
    (directory / record.IMAGES).unlink()
    assert len(place.run(first, same, other)[0]) == 3


def test_a_damaged_record_is_set_aside_and_its_stage_computed_again(place):
    spec = place.spec()
    place.run(spec)
    stage, directory = place.stage(spec)
    whole = (directory / record.DISTILLED).read_bytes()
    spoil_byte(directory / record.STAGE_FILE)
    (seen,) = outlook(compile_plan(spec.spec), place.options.runs_dir)
    assert seen.status == "to compute again: stage.json is damaged (its digest does not match)"
    _, said = place.run(spec)
    assert f"stage.json is damaged (its digest does not match); set aside as .{stage.place}.replaced-1" in said
    assert (directory / record.DISTILLED).read_bytes() == whole
    assert place.status() == {"small": "done"}


def test_a_state_outlives_a_damaged_record(place):
    spec = place.spec()
    stage, directory = place.stage(spec)
    (directory / record.STATE).mkdir(parents=True)
    state = directory / record.STATE / "000000000007.state"
    state.write_bytes(b"kept")
    (directory / record.STAGE_FILE).write_text("{}")
    set_damaged_aside(stage, place.options.runs_dir)
    assert sorted(path.name for path in directory.iterdir()) == ["stage.json.damaged", "state"]
    assert state.read_bytes() == b"kept"
    assert place.run(spec)[0]


def test_what_a_kill_has_left_of_files_is_removed(place):
    spec = place.spec()
    _, directory = place.stage(spec)
    (directory / record.IMAGES).mkdir(parents=True)
    left = [directory / ".stage.json.abc.tmp", directory / record.IMAGES / ".000.png.abc.tmp"]
    for path in left:
        path.write_bytes(b"half")
    place.run(spec)
    assert place.status() == {"small": "done"}
    assert [path for path in left if path.exists()] == []


def test_a_damaged_record_of_a_run_is_set_aside_and_written_anew(place):
    spec = place.spec()
    place.run(spec)
    (path,) = record.run_files(place.runs_dir / "small")
    before = record.read_run(path)
    spoil_cut(path)
    _, said = place.run(spec)
    assert f"{path} is damaged (its digest does not match); set aside as {path.name}.damaged" in said
    again = record.read_run(path)
    assert (again.spec, again.stages, again.run_id) == (before.spec, before.stages, before.run_id)
    assert record.run_files(place.runs_dir / "small") == [path]


def test_all_that_a_run_leaves_survives_a_power_cut(place, folder, monkeypatch):
    fsync, contents, names = os.fsync, {}, {}

    def noted(handle):
        """Sync, and note which content, or which names of which files, are on disk now."""
        fsync(handle)
        found = os.fstat(handle)
        if stat.S_ISDIR(found.st_mode):
            names[found.st_ino] = {(entry.name, entry.inode()) for entry in os.scandir(handle)}
        else:
            contents[found.st_ino] = (found.st_size, found.st_mtime_ns)

    monkeypatch.setattr(os, "fsync", noted)
    place.run(place.spec(images=folder))
    left = [place.runs_dir, *place.runs_dir.rglob("*")]
    assert {path.name for path in left} >= {record.STAGE_FILE, record.DISTILLED, "images", ".stages", "entry.json"}
    for path in left:
        found = path.lstat()
        assert (path.name, found.st_ino) in names[path.parent.stat().st_ino], path
        if stat.S_ISREG(found.st_mode):
            assert contents[found.st_ino] == (found.st_size, found.st_mtime_ns), path


def test_large_results_are_read_before_a_stage_that_needs_them(place, monkeypatch):
    monkeypatch.setattr(status, "HASHED_UP_TO", 100)
    spec = place.spec()
    place.run(spec)
    stage, directory = place.stage(spec)
    whole = (directory / record.DISTILLED).read_bytes()
    spoil_byte(directory / record.DISTILLED)
    assert is_done(stage, place.options.runs_dir)  # at once
    small = "[architecture]\nwidth = 2\ndepth = 1\n"
    evaluate = '[[application]]\ntype = "evaluate"\nnum_models = 1\nsteps = 2\nwarmup_steps = 1\naugmentation = []\n'
    _, said = place.run(place.spec(more=small + evaluate))
    assert f"distilled.npz is not what was written; set aside as .{stage.place}.replaced-1" in said
    assert (directory / record.DISTILLED).read_bytes() == whole


def test_one_spec_fails_as_itself(place):
    with pytest.raises(FrepoError) as caught:
        place.run(place.spec("missing", place.path / "nothing"))
    assert not isinstance(caught.value, SpecsFailedError)
    assert not (place.path / "runs" / "missing").exists()


def test_nothing_is_set_aside_for_a_spec_that_cannot_start(place, folder):
    spec = place.spec(images=folder)
    place.run(spec)
    folder.rename(folder.with_name("elsewhere"))
    with pytest.raises(FrepoError, match="is not a folder"):
        place.run(spec, fresh=True)
    assert "finished already" in place.run(spec)[1]


def test_specs_that_share_a_stage_compute_it_anew_once(place):
    one = place.spec()
    other = load_spec(one.path, ("architecture.width=4",))
    place.run(one, other)
    _, said = place.run(one, other, fresh=True)
    assert said.count("set aside") == said.count("starts on") == 1


def test_a_signal_ends_all_specs(place):
    graph = Graph([place.spec("one"), place.spec("other")])
    failures = Failures(graph, go_on=True)
    one, other = graph.experiments
    with failures.of(one):
        raise OSError("disk")
    assert failures.left() == [other]
    with pytest.raises(Interrupted), failures.of(other):
        raise Interrupted("stopped")


def test_a_stage_that_another_process_works_on_is_named_once(place, monkeypatch):
    spec = place.spec()
    stage, directory = place.stage(spec)
    directory.mkdir(parents=True)
    lock, looks = ExitStack(), []

    def sleep(seconds):
        looks.append(seconds)
        if len(looks) == 4:
            lock.close()

    monkeypatch.setattr(walk, "time", SimpleNamespace(sleep=sleep))
    lock.enter_context(held(directory, 0.0))
    _, said = place.run(spec)
    assert len(looks) == 4
    assert said.count(f"{stage.directory}: another process works on it: waiting") == 1
    assert said.count(f"{stage.directory}: starts on") == 1
    assert is_done(stage, place.options.runs_dir)


def test_a_process_that_has_lost_a_stage_leaves_its_record_alone(place, monkeypatch):
    spec = place.spec()
    _, directory = place.stage(spec)
    execute = stages.execute

    def lose(*arguments):
        monkeypatch.setattr(stages, "execute", execute)
        (directory / ".lease-1").unlink()  # as a process does that has taken it over and is done
        raise FrepoError("the files are not as they were")

    monkeypatch.setattr(stages, "execute", lose)
    monkeypatch.setattr(walk, "time", SimpleNamespace(sleep=lambda _: None))
    _, said = place.run(spec)
    assert said.count("starts on") == 2
    found = record.read_stage(directory)
    assert found.status == "done"
    assert [attempt.error for attempt in found.attempts] == [None, None]

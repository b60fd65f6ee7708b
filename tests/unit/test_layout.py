"""Where stages lie: one place each, links in runs, and results of earlier versions or of a folder that has moved."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from frepo.errors import FrepoError
from frepo.exchange.export.run import export_run
from frepo.plan import compile_plan
from frepo.report.page import write_report
from frepo.rundir.layout import STAGES, free_name, link_stages, referring, stage_directory, take_over
from frepo.store.ingest import ingest
from frepo.store.query import query


def computed(place, *specs, fresh=False):
    """Run and return how many stages were computed."""
    return place.run(*specs, fresh=fresh)[1].count("starts on")


def link_of(place, spec):
    """Return the link of the one stage of a spec, and the directory that it is to lead to."""
    stage, directory = place.stage(spec)
    return place.runs_dir / spec.spec.name / stage.directory, directory


def as_before(place, spec):
    """Put the stage of a finished run where earlier versions had it, and return that directory."""
    link, directory = link_of(place, spec)
    link.unlink()
    directory.rename(link)
    place.stages.rmdir()
    return link


def write_images(folder):
    """Write the same folder of images under any name, and return it."""
    for split in ("train", "test"):
        for value, label in enumerate(("cat", "dog")):
            directory = folder / split / label
            directory.mkdir(parents=True)
            Image.fromarray(np.full((8, 8), 100 * value, np.uint8)).save(directory / "0.png")
    return folder


def test_runs_of_all_names_have_links_to_one_place(place):
    one, other = place.spec("one"), place.spec("other")
    assert computed(place, one, other) == 1
    (link, directory), (other_link, same) = link_of(place, one), link_of(place, other)
    assert directory == same
    assert link.readlink() == other_link.readlink() == Path("..", STAGES, directory.name)
    assert (link / "distilled.npz").samefile(directory / "distilled.npz")
    assert [path.name for path in place.stages.iterdir()] == [directory.name]
    assert referring(place.runs_dir) == {directory.name: {"one", "other"}}


def test_a_directory_of_runs_can_be_moved(place):
    spec = place.spec()
    place.run(spec)
    place.runs_dir.rename(place.path / "elsewhere")
    place.runs_dir = place.path / "elsewhere"
    link, directory = link_of(place, spec)
    assert (link / "distilled.npz").samefile(directory / "distilled.npz")


def test_stages_that_are_not_computed_yet_are_dangling_links(place):
    spec = place.spec()
    link, directory = link_of(place, spec)
    link.parent.mkdir(parents=True)
    plan = compile_plan(spec.spec)
    for _ in range(2):
        link_stages(plan, place.runs_dir)
        assert link.is_symlink()
        assert not link.exists()
    link.unlink()
    link.symlink_to("../elsewhere")  # is replaced
    link_stages(plan, place.runs_dir)
    assert link.readlink().name == directory.name
    assert [path.name for path in link.parent.iterdir()] == [link.name]


def test_a_run_of_an_earlier_version_is_read_as_it_is(place):
    spec = place.spec()
    place.run(spec)
    directory = as_before(place, spec)
    database = place.path / "other.duckdb"
    assert not ingest(database, place.runs_dir).problems
    found = query(database, "SELECT path FROM images")
    assert found.rows
    page = write_report(database, place.runs_dir, ["small"], place.path / "reports")
    assert "data:image" in page.read_text()
    export_run("small", "npz", place.path / "exported", place.options, None)
    assert (place.path / "exported" / "README.md").exists()
    assert directory.is_dir()
    assert not directory.is_symlink()


@pytest.mark.parametrize("fresh", [False, True])
def test_running_its_spec_again_takes_over_a_run_of_an_earlier_version(place, fresh):
    spec = place.spec()
    place.run(spec)
    as_before(place, spec)
    assert computed(place, spec, fresh=fresh) == int(fresh)
    link, directory = link_of(place, spec)
    assert link.is_symlink()
    assert (link / "distilled.npz").samefile(directory / "distilled.npz")
    names = {path.name for path in place.stages.iterdir()}
    assert names == ({directory.name, f".{directory.name}.replaced-1"} if fresh else {directory.name})
    assert query(place.options.database, "SELECT name, status FROM runs").rows == (("small", "done"),)


def test_all_stages_of_an_earlier_version_come_to_their_places(fake_runs):
    plan, _ = fake_runs("small")
    before = {stage.place: (fake_runs.directory("small", stage) / "stage.json").read_bytes() for stage in plan.stages}
    for _ in range(2):
        take_over(plan, fake_runs.runs_dir)
        link_stages(plan, fake_runs.runs_dir)
        assert before == {
            stage.place: (stage_directory(stage, fake_runs.runs_dir) / "stage.json").read_bytes()
            for stage in plan.stages
        }
        assert all(fake_runs.directory("small", stage).is_symlink() for stage in plan.stages)
    assert len(before) == len(plan.stages) > 1


def test_what_two_runs_of_earlier_versions_both_have_is_kept_once_and_set_aside_once(place):
    one, other = place.spec("one"), place.spec("other")
    place.run(one)
    first = as_before(place, one)
    place.run(other)
    _, directory = link_of(place, other)
    stamp = (directory / "distilled.npz").stat().st_mtime_ns
    assert computed(place, one) == 0
    assert first.samefile(directory)
    assert (directory / "distilled.npz").stat().st_mtime_ns == stamp
    aside = first.with_name(f".{first.name}.replaced-1")
    assert (aside / "distilled.npz").exists()
    assert free_name(first) == first.with_name(f".{first.name}.replaced-2")
    assert not ingest(place.options.database, place.runs_dir).problems


def test_a_folder_of_images_that_has_moved_takes_its_results_along(place):
    images = write_images(place.path / "images")
    place.run(place.spec(images=images))
    moved = images.rename(place.path / "moved")
    spec = place.spec(images=moved)
    assert computed(place, spec) == 0
    link, directory = link_of(place, spec)
    assert link.resolve() == directory
    assert [path.name for path in place.stages.iterdir()] == [directory.name]


def test_results_of_a_folder_that_has_moved_stay_where_another_run_needs_them(place):
    images = write_images(place.path / "images")
    before = place.spec(images=images)
    other = place.spec("other", images=images)
    place.run(before, other)
    moved = images.rename(place.path / "moved")
    assert computed(place, place.spec(images=moved)) == 1
    assert {path.name for path in place.stages.iterdir()} == {
        link_of(place, spec)[1].name for spec in (other, place.spec(images=moved))
    }
    assert link_of(place, other)[0].resolve() == link_of(place, other)[1]


def test_two_folders_have_two_places_though_their_specs_are_equal(place):
    one, other = (
        place.spec("one", write_images(place.path / "first")),
        place.spec("other", write_images(place.path / "second")),
    )
    assert computed(place, one, other) == 2
    (link, directory), (other_link, other_directory) = link_of(place, one), link_of(place, other)
    assert link.name == other_link.name
    assert directory != other_directory
    assert (directory / "distilled.npz").read_bytes() == (other_directory / "distilled.npz").read_bytes()


def test_something_that_is_no_link_in_its_place_is_named(place):
    spec = place.spec()
    link, _ = link_of(place, spec)
    link.parent.mkdir(parents=True)
    link.write_text("mine")
    with pytest.raises(FrepoError, match=r"is not the link to .* move it away and run the spec again"):
        place.run(spec)
    assert link.read_text() == "mine"


def test_a_file_system_without_links_is_named(place, monkeypatch):
    def refuse(*_):
        raise PermissionError(1, os.strerror(1))

    spec = place.spec()
    monkeypatch.setattr(Path, "symlink_to", refuse)
    with pytest.raises(FrepoError, match=r"cannot be made a symbolic link .* --runs-dir"):
        place.run(spec)

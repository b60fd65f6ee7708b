"""The report as it is used: in a browser, by mouse and keyboard, with many images."""

import hashlib
import json

import numpy as np
import pytest

from frepo.data.sheet import contact_sheet
from frepo.data.sources.known import KNOWN
from frepo.plan import DistillStage
from frepo.report.page import terms_of, write_report
from frepo.rundir import record
from frepo.rundir.record import ImageSheet
from frepo.store.ingest import ingest

STEPS = (0, 10, 100, 1000, 2000, 4000, 8000, 16_000, 32_000, 64_000)
SCRIPT = "<img src=x onerror=alert(1)>"
NAMES = ("plane", f"<b>car</b>{SCRIPT}", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def write_images(directory, steps, views, ipc, side):
    """Write sheets of noise on plain ground, whose darkness tells the step and the view."""
    stage = record.read_stage(directory)
    noise = np.random.default_rng(0).normal(0, 0.2, (len(NAMES) * ipc, side, side, 3))
    sheets = []
    for index, step in enumerate(steps):
        for view in views:
            level = index / len(steps) if view == "pixels" else 1 - index / len(steps)
            content = contact_sheet(level + (index + 1) / len(steps) * noise, ipc)
            path = f"{record.IMAGES}/{view}-{step}.png"
            (directory / path).write_bytes(content)
            digest = hashlib.sha256(content).hexdigest()
            sheets.append(ImageSheet(path=path, view=view, sha256=digest, step=step, rows=len(NAMES), columns=ipc))
    record.write_record(directory / record.STAGE_FILE, stage.model_copy(update={"images": tuple(sheets)}))


@pytest.fixture
def write(fake_runs, tmp_path):
    """Write runs of ten classes with ten snapshots of their images, and return the path of the report on them."""

    def write(*names, ipc=2, side=8):
        for seed, name in enumerate(names):
            plan, _ = fake_runs(name, seed=seed, ipc=ipc, class_names=NAMES)
            for stage, steps in zip(plan.stages[:3:2], (STEPS, STEPS[:1]), strict=True):
                directory = fake_runs.directory(name, stage)
                write_images(directory, steps, ("pixels", "inputs"), ipc, side)
                labels = np.repeat(np.eye(len(NAMES), dtype=np.float32), ipc, axis=0) * 0.75
                labels[:, 1] += 0.125
                np.savez(directory / record.DISTILLED, labels=labels)
        ingest(tmp_path / "results.duckdb", fake_runs.runs_dir)
        return write_report(tmp_path / "results.duckdb", fake_runs.runs_dir, names, tmp_path)

    return write


def test_a_page_of_large_images_along_the_training_is_small_enough_to_send(write):
    assert 1_000_000 < write("large", ipc=10, side=32).stat().st_size < 3_000_000


def test_of_many_sets_of_images_the_start_and_the_end_are_folded_behind_the_results(fake_runs, tmp_path, browse):
    course = {"type": "continual", "num_steps": 5, "num_classes": 10, "baselines": ["random"]}
    plan, _ = fake_runs("course", application=[course], class_names=NAMES[:2])
    distilled = [stage for stage in plan.stages if isinstance(stage.work, DistillStage)]
    for stage in distilled:
        steps = STEPS if stage.label.startswith("frepo") else STEPS[:1]
        write_images(fake_runs.directory("course", stage), steps, ("pixels", "inputs"), 2, 8)
    ingest(tmp_path / "results.duckdb", fake_runs.runs_dir)
    page = browse(write_report(tmp_path / "results.duckdb", fake_runs.runs_dir, ["course"], tmp_path))
    assert page.locator(".gallery").count() == len(distilled) == 10
    assert page.locator("[data-sheet]").count() == 5 * 2 + 5
    assert page.locator(".gallery:visible").count() == 0
    assert page.locator("input[name^=view]").count() == 0
    table, images = (page.get_by_role("heading", name=name, exact=True) for name in ("Continual learning", "Images"))
    assert table.bounding_box()["y"] < images.bounding_box()["y"]
    page.get_by_text("frepo-seed0-step2", exact=True).first.click()
    assert page.locator(".gallery:visible").count() == 1


def test_images_answer_to_mouse_and_keyboard(write, browse):
    page = browse(write("small"))
    tiles, readout = page.locator(".panel.end").first.locator(".tile"), page.locator(".readout").first
    tiles.nth(0).focus()
    assert readout.inner_text().startswith("plane, image 1")
    page.keyboard.press("ArrowRight")
    assert readout.inner_text().startswith("plane, image 2")
    page.keyboard.press("ArrowDown")
    assert readout.inner_text().startswith(f"{NAMES[1]}, image 2\nlabel:\n{NAMES[1]} 0.88")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')").startswith(f"{NAMES[1]}, image 2; label")
    page.keyboard.press("End")
    page.keyboard.press("ArrowRight")
    assert readout.inner_text().startswith("truck, image 2")
    tiles.nth(4).hover()
    assert readout.inner_text().startswith("bird, image 1\nlabel:\nbird 0.75\n")
    assert page.locator("body img, body b").count() == 0
    assert page.trouble == []


def shown(page, part):
    """Return (view, step) of what a panel shows, and its picture."""
    panel = page.locator(f".panel.{part}").first
    frames = json.loads(page.locator(".gallery").first.get_attribute("data-frames"))
    keys = {key: (view, step) for view, all_steps in frames.items() for step, key in all_steps}
    return keys[panel.get_attribute("data-sheet")], panel.locator(".tile").first.screenshot()


def test_the_training_is_played_in_both_views(write, browse):
    page = browse(write("small"))
    pictures = [shown(page, part) for part in ("start", "end")]
    page.get_by_label("inputs").first.check()
    pictures += [shown(page, part) for part in ("start", "end")]
    assert [where for where, _ in pictures] == [(v, s) for v in ("pixels", "inputs") for s in (0, STEPS[-1])]
    assert len({picture for _, picture in pictures}) == 4
    page.clock.install(time=0)
    page.clock.pause_at(1000)
    page.get_by_role("button", name="Play").press("Enter")
    seen = [shown(page, "end")[0]]
    for _ in STEPS[1:]:
        page.clock.run_for(500)
        seen.append(shown(page, "end")[0])
    assert seen == [("inputs", step) for step in STEPS]
    assert page.get_by_role("button", name="Play").count() == 1  # at the end it stops by itself
    assert page.trouble == []


def test_runs_side_by_side_can_be_read_by_all(write, browse, violations):
    page = browse(write("one", SCRIPT), 390, "dark")
    assert violations(page) == []
    assert page.trouble == []
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert page.locator("#comparison ~ .panels .tile").count() == 40


def test_whose_the_images_are_and_under_which_terms_is_said(fake_runs, database, tmp_path):
    fake_runs("small", class_names=("a", "b"))
    text = write_report(database(), fake_runs.runs_dir, ["small"], tmp_path).read_text()
    known = KNOWN["digits"]
    assert f"digits: licence of the images: {known.licence}; to cite: {known.citation}." in text
    assert [terms_of(name) for name in ("my_set:1.0.0", "image_folder")] == ["", ""]
    assert terms_of("mnist:3.0.1") == terms_of("hf://ylecun/mnist") == terms_of("mnist")
    assert terms_of("hf://anyone/mnist") == ""

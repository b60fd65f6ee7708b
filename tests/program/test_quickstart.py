"""The main job as a stranger runs it: the quickstart spec, its database, its page."""

import hashlib
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

QUICKSTART = Path(__file__).parents[2] / "specs" / "quickstart.toml"


@pytest.fixture(scope="module")
def finished(make_workplace):
    """The quickstart, run once."""
    workplace = make_workplace("quickstart")
    out, err = workplace.frepo("run", QUICKSTART, warnings="error")
    return SimpleNamespace(workplace=workplace, out=out, err=err)


def test_ten_learned_images_beat_ten_real_ones_by_far(finished):
    table = finished.workplace.rows("SELECT source, top1_mean, num_models, n_test FROM accuracy_table")
    accuracy = {row["source"]: row["top1_mean"] for row in table}
    assert {(row["num_models"], row["n_test"]) for row in table} == {(5, 360)}
    assert accuracy["distilled"] >= 0.85
    assert accuracy["distilled"] - accuracy["random"] >= 0.30


def test_the_command_prints_the_accuracy_table(finished):
    lines = finished.out.splitlines()
    assert len(lines) == 2
    assert "distilled" in lines[0]
    assert "random" in lines[1]
    assert "±" in lines[0]


def test_a_finished_spec_says_so_and_computes_nothing(finished):
    before = {
        p: p.stat().st_mtime_ns for p in (finished.workplace.path / "runs" / "quickstart").rglob("*") if p.is_file()
    }
    out, err = finished.workplace.frepo("run", QUICKSTART)
    after = {
        p: p.stat().st_mtime_ns for p in (finished.workplace.path / "runs" / "quickstart").rglob("*") if p.is_file()
    }
    assert "finished already" in err
    assert out == finished.out
    assert {p: t for p, t in before.items() if p.name != ".lock"} == {
        p: t for p, t in after.items() if p.name != ".lock"
    }


def test_the_distilled_file_holds_ten_images_and_their_soft_labels(finished):
    with np.load(finished.workplace.stage("quickstart", "frepo") / "distilled.npz", allow_pickle=False) as arrays:
        assert {name: (arrays[name].shape, arrays[name].dtype.str) for name in arrays} == {
            "images": ((10, 8, 8, 1), "<f4"),
            "labels": ((10, 10), "<f4"),
            "classes": ((10,), "<i4"),
        }
        assert np.isfinite(arrays["images"]).all()
        assert arrays["labels"].argmax(axis=1).tolist() == arrays["classes"].tolist()


def test_the_database_can_be_rebuilt_from_the_run_directories(finished):
    sql = "SELECT * FROM accuracy_table"
    before = finished.workplace.rows(sql)
    (finished.workplace.path / "results.duckdb").unlink()
    assert "1 runs" in finished.workplace.frepo("ingest")[0]
    assert finished.workplace.rows(sql) == before


def test_what_was_done_is_recorded(finished):
    (run,) = finished.workplace.rows("SELECT status, command, host, frepo_version, spec_text, provenance FROM runs")
    assert run["status"] == "done"
    assert run["command"].endswith("quickstart.toml")
    assert run["spec_text"] == QUICKSTART.read_text()
    assert json.loads(run["provenance"])["packages"]["jax"]
    stages = finished.workplace.rows("SELECT * FROM stages ORDER BY label")
    assert [s["label"] for s in stages] == ["evaluate-distilled", "evaluate-random", "frepo", "random"]
    assert all(s["status"] == "done" and s["wall_s"] > 0 and s["peak_host_bytes"] > 1e7 for s in stages)
    assert [(s["step"], s["steps"]) for s in stages] == [(1000, 1000), (1000, 1000), (1000, 1000), (0, None)]


def test_every_recorded_image_is_the_file_on_disk(finished):
    images = finished.workplace.rows("SELECT run, stage, path, sha256, step FROM images ORDER BY stage, step")
    assert [i["step"] for i in images] == [0, 4, 8, 16, 31, 62, 125, 250, 500, 1000, 0]
    for image in images:
        path = finished.workplace.path / "runs" / image["run"] / image["stage"] / image["path"]
        assert hashlib.sha256(path.read_bytes()).hexdigest() == image["sha256"]


@pytest.fixture(scope="module")
def path(finished):
    """The report on the run."""
    out, _ = finished.workplace.frepo("report", "quickstart", warnings="error")
    return finished.workplace.path / out.strip()


@pytest.fixture(scope="module")
def page(browse, path):
    return browse(path)


def test_the_page_shows_the_table_with_the_baseline_beside_it(page, finished):
    cells = page.locator("#accuracy + .table tbody tr").all_inner_texts()
    table = finished.workplace.rows("SELECT source, top1_mean, top1_std FROM accuracy_table")
    assert len(cells) == len(table) == 2
    for text, row in zip(cells, table, strict=True):
        assert row["source"] in text
        assert f"{100 * row['top1_mean']:.1f} ± {100 * row['top1_std']:.1f}%" in text
        assert "5 × conv" in text
    gain = 100 * (table[0]["top1_mean"] - table[1]["top1_mean"])
    assert f"+{gain:.1f}" in cells[0]


def test_the_page_shows_each_class_at_start_and_end(page):
    tiles = page.locator(".tile")
    assert tiles.count() == 30  # start, end, and the random images
    assert page.locator(".name").all_inner_texts() == [str(d) for d in range(10)] * 3
    box = tiles.first.bounding_box()
    assert box["width"] >= 64
    assert box["height"] >= 64
    pictures = {tiles.nth(i).screenshot() for i in range(20)}
    assert len(pictures) == 20  # ten real digits, ten learned ones, none of them blank twice


def test_the_slider_goes_through_the_training(page):
    slider, end = page.locator(".step"), page.locator(".panel.end").first
    seen = {end.locator(".tile").first.screenshot()}
    steps = []
    slider.focus()
    for _ in range(9):
        page.keyboard.press("ArrowLeft")
        steps.append(slider.get_attribute("aria-valuetext"))
        seen.add(end.locator(".tile").first.screenshot())
    assert steps == [f"step {step}" for step in (500, 250, 125, 62, 31, 16, 8, 4, 0)]
    assert len(seen) >= 8  # the first steps change little
    page.keyboard.press("End")
    assert end.locator("figcaption").inner_text() == "End: after 1,000 steps"


def test_pointing_at_an_image_tells_its_learned_label(page, finished):
    with np.load(finished.workplace.stage("quickstart", "frepo") / "distilled.npz", allow_pickle=False) as arrays:
        label = arrays["labels"][3]
    page.locator(".panel.end .tile").nth(3).hover()
    text = page.locator(".readout").first.inner_text()
    assert text.startswith("3, image 1")
    for index in np.argsort(-label)[:3]:
        assert f"{index} {label[index]:.2f}" in text


def test_the_page_draws_curves_and_names_spec_and_provenance(page):
    assert page.locator(".charts svg").count() == 4
    assert "ends at" in page.locator(".charts svg desc").first.text_content()
    text = page.locator("body").inner_text()
    for expected in (
        "Regression accuracy",
        "Test accuracy of the evaluated networks",
        'method = "frepo"',
        "fingerprint",
        "peak memory",
        "jax",
    ):
        assert expected in text


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_can_be_used_by_all_and_needs_nothing_else(browse, violations, path, scheme, width):
    page = browse(path, width, scheme)
    page.locator("summary").first.click()
    assert violations(page) == []
    assert page.trouble == []
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_nothing_went_wrong_while_it_was_used(page):
    assert page.trouble == []

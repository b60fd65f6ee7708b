"""The page of a sweep: which number stands where, over what, and beside what."""

import hashlib
import re
import xml.etree.ElementTree as ET
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from typer.testing import CliRunner

from frepo.cli import app
from frepo.errors import FrepoError
from frepo.report.axes import (
    ANY,
    axes_of,
    baselines_once,
    curves_of,
    grid_of,
    points_of,
)
from frepo.report.charts import MOST_LINES
from frepo.report.figures import write_sweep_figures
from frepo.report.gallery import CORNER, load_thumbnail
from frepo.report.page import write_report
from frepo.report.sweep import MOST_THUMBNAILS, read_sweep, write_sweep
from frepo.store.query import query

START = datetime(2024, 5, 6, tzinfo=UTC)
ALONE = [{"type": "evaluate"}]
SCRIPT = "</td></svg><script>alert(1)</script>\"' &amp;"


@pytest.fixture
def add(fake_runs):
    """Return what writes a run of the sweep `grid` at a place, named after it."""

    def add(swept, *scores, application=None, sweep="grid", name=None, **settings):
        baselines = [{"type": "evaluate", "baselines": ["random"]}]
        return fake_runs(
            name or "-".join(str(value) for value in swept.values()).replace("/", "_"),
            seed=swept.get("seed", 0),
            ipc=swept.get("distill.ipc", 1),
            scores=scores,
            sweep=sweep,
            swept=swept,
            application=application or (ALONE if len(scores) == 1 else baselines),
            tables={"distill": {"method": swept.get("distill.method", "frepo")}},
            **settings,
        )

    return add


def rows_of(grid):
    """Return (values, trained on, percentages of the cells) of the rows of a table."""
    return [
        (line.values, line.trained_on, [cell and round(100 * cell.number["top1_mean"], 1) for cell in line.cells])
        for line in grid.lines
    ]


def grid(database, name="grid"):
    sweep = read_sweep(database, name)
    return grid_of(sweep.axes, sweep.points)


def test_a_cell_is_the_mean_and_std_over_seeds_as_numpy_has_them(add, database):
    scores = {0: (0.5, 0.6), 1: (0.7, 0.75), 3: (0.65, 0.6)}
    for seed, networks in scores.items():
        add({"seed": seed, "distill.ipc": 10}, networks)
        add({"seed": seed, "distill.ipc": 2}, (0.25, 0.25))
    found = grid(database())
    assert (found.down, found.across.name, found.columns) == ((), "ipc", ("2", "10"))
    ((low, high),) = (line.cells for line in found.lines)
    means = np.mean(list(scores.values()), axis=1)
    assert high.number["top1_mean"] == pytest.approx(means.mean())
    assert high.std == pytest.approx(means.std(ddof=1))
    assert low.std == 0
    assert found.samples == "3 seeds, 2 networks each; std over seeds"


def test_rows_are_the_other_axes_and_what_networks_were_trained_on(add, database):
    for number, method in enumerate(("dm", "frepo")):
        for ipc in (10, 1):
            add({"distill.method": method, "distill.ipc": ipc}, (ipc / 20 + number / 10,), (ipc / 40,))
    found = grid(database())
    assert [axis.name for axis in found.down] == ["method"]
    assert rows_of(found) == [
        (("dm",), "distilled", [5.0, 50.0]),
        (("frepo",), "distilled", [15.0, 60.0]),
        ((ANY,), "random", [2.5, 25.0]),  # the same networks, whatever the method
    ]


def test_baselines_that_differ_stay_apart(add, database):
    for method, accuracy in (("dm", 0.25), ("frepo", 0.5)):
        add({"distill.method": method}, (0.75,), (accuracy,))
    assert rows_of(grid(database())) == [
        (("dm",), "distilled", [75.0]),
        (("dm",), "random", [25.0]),
        (("frepo",), "distilled", [75.0]),
        (("frepo",), "random", [50.0]),
    ]


def test_the_best_of_a_column_is_that_of_the_same_data_set(add, database):
    for case, dataset in (("digits", {"name": "digits"}), ("cifar10", {"name": "cifar10"})):
        for number, method in enumerate(("dm", "frepo")):
            score = 0.5 + number / 10 if case == "digits" else 0.3 - number / 10
            add({"case": case, "distill.method": method}, (score,), dataset=dataset)
    found = grid(database())
    assert {line.values: line.cells[0].best for line in found.lines} == {
        ("digits", "dm"): False,
        ("digits", "frepo"): True,
        ("cifar10", "dm"): True,
        ("cifar10", "frepo"): False,
    }


def test_all_real_images_are_not_the_best_and_what_stands_alone_is_not_either(add, database):
    add({"distill.ipc": 1}, (0.5,), (0.9,), application=[{"type": "evaluate", "baselines": ["full"]}])
    assert [line.cells[0].best for line in grid(database()).lines] == [False, False]


def test_numbers_over_unlike_samples_say_theirs(add, database):
    add({"seed": 0, "distill.ipc": 1}, (0.5, 0.75))
    add({"seed": 1, "distill.ipc": 1}, (0.5, 0.75, 0.25))
    add({"seed": 0, "distill.ipc": 2}, (0.5, 0.75))
    add({"seed": 0, "distill.ipc": 3}, (0.5,))
    found = grid(database())
    assert found.samples is None
    assert [cell.samples for cell in found.lines[0].cells] == [
        "2 seeds, 2 to 3 networks each; std over seeds",
        "1 seed, 2 networks; std over networks",
        "1 seed, 1 network",
    ]
    assert found.lines[0].cells[1].std == pytest.approx(np.std([0.5, 0.75], ddof=1))
    assert found.lines[0].cells[2].std is None


def test_a_sweep_over_seeds_alone_is_one_number(add, database):
    for seed in (0, 1):
        add({"seed": seed}, (0.25 + seed / 2,))
    assert rows_of(grid(database())) == [((), "distilled", [50.0])]


def test_several_networks_are_rows_of_their_own(add, database):
    networks = [{"width": 8}, {"width": 16}]
    crossed = [{"type": "cross_architecture", "architectures": networks}]
    for ipc in (1, 2):
        add({"distill.ipc": ipc}, (0.25 * ipc,), (0.3 * ipc,), application=crossed)
    found = grid(database())
    assert [(line.trained_on.split(",")[:2], [c.number["width"] for c in line.cells]) for line in found.lines] == [
        (["distilled", " conv width 8 depth 3"], [8, 8]),
        (["distilled", " conv width 16 depth 3"], [16, 16]),
    ]


def test_the_newest_run_of_a_name_counts_and_other_sweeps_do_not(add, database):
    add({"distill.ipc": 1}, (0.25,), name="point", created=START)
    add(
        {"distill.ipc": 1},
        (0.75,),
        name="point",
        created=START + timedelta(days=1),
        class_names="abc",
        status="done",
        application=[{"type": "evaluate", "num_models": 1, "steps": 7, "warmup_steps": 1}],
    )
    add({"distill.ipc": 1}, (0.5,), sweep="other", name="elsewhere", application=ALONE)
    assert rows_of(grid(database())) == [((), "distilled", [75.0])]


def test_places_that_are_one_experiment_have_its_number_each(add, database):
    for case in ("one", "other"):
        add({"case": case}, (0.5,))
    assert rows_of(grid(database())) == [(("one",), "distilled", [50.0]), (("other",), "distilled", [50.0])]


def test_a_stage_that_several_runs_share_took_its_time_once(add, database):
    plans = [add({"distill.method": method}, (0.5,), (0.25,))[0] for method in ("dm", "frepo")]
    shared = {stage.fingerprint for plan in plans for stage in plan.stages}
    assert len(shared) < sum(len(plan.stages) for plan in plans)
    path = database()
    each = query(path, "SELECT DISTINCT wall_s FROM stages").rows
    assert len(each) == 1
    assert read_sweep(path, "grid").seconds == len(shared) * each[0][0]


def number(run_id, top1, **columns):
    """Return a row of `seed_table` as far as the grid reads it."""
    alike = ("dataset", "part", "resolution", "ipc", "pooling", "width", "depth")
    recipe = ("precision", "steps", "learning_rate", "loss", "optimizer", "augmentation", "augmentation_mode")
    known = {
        "source": "distilled",
        "architecture": "conv",
        "normalization": "identity",
        "predictor": "network",
        "experiment": run_id,
        "run_ids": [run_id],
        "seeds": [0, 1],
        "top1_mean": top1,
        "top1_each_seed": [top1, top1],
        "top1_seeds_std": 0.01,
        "num_seeds": 2,
        "num_models": 1,
        "most_models": 1,
    }
    return dict.fromkeys((*alike, *recipe, "position", "labels", "top1_std")) | known | columns


def placed(swept, **columns):
    """Return the axes and points of experiments at some places, the n-th with an accuracy of n percent."""
    ids = {f"run{index}": at for index, at in enumerate(swept)}
    axes = axes_of(swept)
    return axes, points_of(axes, ids, [number(id_, index / 100, **columns) for index, id_ in enumerate(ids)])


def test_experiments_that_nothing_else_tells_apart_have_a_few_of_their_digits():
    swept = {f"run{letter}": {"case": "a"} for letter in "ab"}
    numbers = [number(f"run{letter}", 0.5, experiment=letter * 64) for letter in "ab"]
    points = points_of(axes_of(list(swept.values())), swept, numbers)
    assert [point.trained_on for point in points] == [
        "distilled, experiment aaaaaaaa",
        "distilled, experiment bbbbbbbb",
    ]


def test_numeric_axes_are_in_ascending_order_and_lead_across_others_as_they_came():
    axes, points = placed([{"case": case, "pool.size": size} for case in ("z", "a") for size in (10, 9.5, 100)])
    found = grid_of(axes, points)
    assert found.columns == ("9.5", "10", "100")
    assert [line.values for line in found.lines] == [("z",), ("a",)]


def test_axes_that_end_alike_keep_their_whole_name_and_others_the_last_part():
    swept = {"pool.size": 1, "distill.size": 2, "distill.ipc": 3, "seed": 4}
    assert [axis.name for axis in axes_of([swept])] == ["pool.size", "distill.size", "ipc"]


def test_truth_values_and_tables_are_no_numbers():
    axes, points = placed([{"flip": flip, "architecture": {"width": 8}} for flip in (True, False)])
    assert [axis.numeric for axis in axes] == [False, False]
    assert [line.values for line in grid_of(axes, points).lines] == [
        ("true", '{"width": 8}'),
        ("false", '{"width": 8}'),
    ]


def test_a_run_without_an_axis_has_a_dash_there():
    axes, points = placed([{"distill.ipc": 1}, {"distill.ipc": 1, "case": "new"}])
    assert [line.values for line in grid_of(axes, points).lines] == [("–",), ("new",)]


def test_a_baseline_missing_at_one_place_is_not_merged():
    axes = axes_of([{"case": "a"}, {"case": "b"}])
    points = points_of(axes, {"run0": {"case": "a"}}, [number("run0", 0.5, source="random")])
    assert baselines_once(points, axes, [0]) == points


def test_curves_run_along_each_numeric_axis_with_a_line_for_each_place_on_the_others():
    swept = [
        {"case": case, "distill.ipc": ipc, "pool.size": size} for case in "ab" for ipc in (1, 50) for size in (2, 4)
    ]
    first, second = curves_of(*placed(swept))
    assert [(chart.key, chart.title) for chart in (first, second)] == [
        ("top-1-against-ipc", "Top-1 against ipc"),
        ("top-1-against-size", "Top-1 against size"),
    ]
    lines = {}
    for row in first.values:
        lines.setdefault(row["line"], []).append((row["x"], row["y"], row["low"], row["high"]))
    assert lines["a, size 2, distilled"] == [(1, 0, -1, 1), (50, 2, 1, 3)]
    assert list(lines) == [f"{case}, size {size}, distilled" for case in "ab" for size in (2, 4)]
    scales = [chart.drawing["layer"][0]["encoding"]["x"]["scale"] for chart in (first, second)]
    assert [scale.get("type") for scale in scales] == ["log", None]


def test_too_many_lines_become_several_charts_and_too_many_still_are_cut_and_said_so():
    many = MOST_LINES + 1
    swept = [{"case": c, "distill.ipc": ipc, "name": f"n{n}"} for c in "a+" for ipc in (1, 2) for n in range(many)]
    charts = curves_of(*placed(swept))
    assert [chart.title for chart in charts] == ["Top-1 against ipc: a", "Top-1 against ipc: +"]
    assert [chart.key for chart in charts] == ["top-1-against-ipc-a", "top-1-against-ipc"]
    assert {len({row["line"] for row in chart.values}) for chart in charts} == {MOST_LINES}
    assert {chart.subtitle for chart in charts} == {f"the first {MOST_LINES} of {many} lines"}


def test_charts_whose_values_are_spelt_alike_have_keys_of_their_own():
    many = MOST_LINES + 1
    swept = [{"case": c, "distill.ipc": ipc, "name": f"n{n}"} for c in "+-" for ipc in (1, 2) for n in range(many)]
    assert [chart.key for chart in curves_of(*placed(swept))] == ["top-1-against-ipc", "top-1-against-ipc-2"]


def small_sweep(add, text="digits"):
    for seed in (0, 1):
        for ipc in (1, 2):
            add(
                {"case": text, "distill.ipc": ipc, "seed": seed},
                (0.5 + ipc / 10 + seed / 8, 0.5),
                (0.25, 0.5),
                name=f"{seed}-{ipc}",
                dataset={"name": "cifar10"},
                image_shape=(32, 32, 3),
                sweep="grid" if text == "digits" else text.replace("/", "_"),
            )


def tags(html):
    return re.findall(r"<(/?[a-z]+)", html.partition("<body>")[2])


def test_the_page_shows_table_curves_images_and_all_numbers(add, database, tmp_path, fake_runs):
    small_sweep(add)
    path = write_sweep(database(), fake_runs.runs_dir, "grid", tmp_path / "out")
    html = path.read_text()
    assert path.name == "sweep-grid.html"
    assert "2 experiments over case (1), ipc (2); 2 seeds: 0, 1. 4 runs: 4 done" in html
    assert "Of each number: 2 seeds, 2 networks each; std over seeds." in html
    assert "<strong>58.1 ± 4.4%</strong>" in html
    assert 'published <span class="quiet">(' not in html, "the task is the same, not nearly"
    assert 'published 46.8 ± 0.7% <a href="#source-1">[1]</a>' in html
    assert '<span id="source-1">[1] comparison tables of the PAD paper (2024).' in html
    assert html.count("<svg") == 1
    assert html.count('<img src="data:image/webp;base64,') == 2
    assert re.search(r'alt="Images of digits, ipc 1"', html)
    interval = 58.125 - 12.7062 * 4.4194 / 2**0.5, 58.125 + 12.7062 * 4.4194 / 2**0.5  # Student, one degree of freedom
    assert f'<td class="n">{interval[0]:.1f} to {interval[1]:.1f}</td>' in html
    assert html.count('<th scope="row">0-1</th>') == 1


def test_hostile_text_is_shown_and_makes_no_elements(add, database, tmp_path, fake_runs):
    small_sweep(add)
    add({"case": "other", "distill.ipc": 1}, (0.5,))
    harmless = write_sweep(database(), fake_runs.runs_dir, "grid", tmp_path).read_text()
    fake_runs.runs_dir.rename(tmp_path / "harmless")
    (tmp_path / "results.duckdb").unlink()
    small_sweep(add, SCRIPT)
    name = SCRIPT.replace("/", "_")
    add({"case": "other", "distill.ipc": 1}, (0.5,), sweep=name)
    hostile = write_sweep(database(), fake_runs.runs_dir, name, tmp_path).read_text()
    assert tags(hostile) == tags(harmless)
    assert "<script" not in hostile
    (chart,) = re.findall(r"<svg.*?</svg>", hostile, re.DOTALL)
    assert any(SCRIPT in text for text in ET.fromstring(chart).itertext()), "a line is named after the case"


def test_a_sweep_without_accuracies_or_images_says_so(add, database, tmp_path, fake_runs):
    add({"distill.ipc": 1}, application=[{"type": "continual", "num_steps": 2, "num_classes": 10}], status="running")
    html = write_sweep(database(), fake_runs.runs_dir, "grid", tmp_path).read_text()
    assert "No network has been evaluated on all classes yet" in html
    assert "Not all runs are done" in html
    assert "<svg" not in html


def test_few_images_of_many_places_are_shown_and_missing_ones_are_left_out(add, database, tmp_path, fake_runs):
    plans = [add({"case": f"c{n}", "distill.ipc": 1}, (0.5,))[0] for n in range(MOST_THUMBNAILS + 3)]
    directory = fake_runs.directory("c0-1", plans[0].stages[0])
    (directory / "images" / "step-1000.png").unlink()
    html = write_sweep(database(), fake_runs.runs_dir, "grid", tmp_path).read_text()
    assert html.count("<img") == MOST_THUMBNAILS - 1
    assert f'alt="Images of c{MOST_THUMBNAILS + 2}, ipc 1"' in html


def test_a_thumbnail_is_the_corner_of_a_sheet(fake_runs):
    plan, _ = fake_runs(ipc=CORNER[0] + 2, class_names=[str(n) for n in range(CORNER[1] + 2)])
    directory = fake_runs.directory("small", plan.stages[0])
    row = {"path": "images/step-0.png", "n_rows": CORNER[1] + 2, "n_columns": CORNER[0] + 2, "step": 0}
    row["sha256"] = hashlib.sha256((directory / row["path"]).read_bytes()).hexdigest()
    found = load_thumbnail(directory, row, "all")
    assert (found.width, found.height) == (CORNER[0] * 32, CORNER[1] * 32)
    assert load_thumbnail(directory, {**row, "sha256": "0" * 64}, "all") is None


def test_the_page_of_a_sweep_can_be_read_by_all(add, database, tmp_path, fake_runs, browse, violations):
    small_sweep(add)
    page = browse(write_sweep(database(), fake_runs.runs_dir, "grid", tmp_path), 390, "dark")
    page.get_by_text("All numbers").click()
    page.get_by_text("Runs", exact=True).click()
    assert violations(page) == []
    assert page.trouble == []
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_an_unknown_sweep_is_an_error_with_the_nearest_name(add, database, tmp_path, fake_runs):
    add({"distill.ipc": 1}, (0.5,))
    with pytest.raises(FrepoError, match=r"there is no sweep `gird` in .*, did you mean `grid`\? there are grid"):
        write_sweep(database(), fake_runs.runs_dir, "gird", tmp_path)


def test_a_sweep_in_place_of_a_run_is_an_error_that_names_the_option(add, database, tmp_path, fake_runs):
    add({"distill.ipc": 1}, (0.5,))
    with pytest.raises(FrepoError, match="`grid` is a sweep: `frepo report --sweep grid` writes its page"):
        write_report(database(), fake_runs.runs_dir, ["grid"], tmp_path)


def test_the_command_writes_page_and_figures_of_a_sweep(add, database, tmp_path, fake_runs):
    small_sweep(add)
    places = ["--db", str(database()), "--runs-dir", str(fake_runs.runs_dir), "--out", str(tmp_path)]
    done = CliRunner().invoke(app, ["report", "--sweep", "grid", *places])
    assert (done.exit_code, done.stdout) == (0, f"{tmp_path}/sweep-grid.html\n")
    done = CliRunner().invoke(app, ["report", "--sweep", "grid", "--figures", "pdf", *places])
    assert (done.exit_code, done.stdout) == (0, f"{tmp_path}/figures/sweep-grid/top-1-against-ipc.pdf\n")
    done = CliRunner().invoke(app, ["report", "0-1", "--sweep", "grid", *places])
    assert done.exit_code == 2
    assert "not both" in done.output


def test_a_sweep_without_numeric_axis_has_no_figures(add, database, tmp_path):
    add({"case": "a"}, (0.5,))
    with pytest.raises(FrepoError, match="there is no chart of sweep grid"):
        write_sweep_figures(database(), "grid", tmp_path, "svg")

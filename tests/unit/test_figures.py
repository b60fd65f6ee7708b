"""Charts as files for a paper."""

import re
import xml.etree.ElementTree as ET

import pytest
from typer.testing import CliRunner

from frepo.cli import app
from frepo.errors import FrepoError
from frepo.report.charts import COLORS
from frepo.report.figures import write_figures
from frepo.report.page import MOST_IN_FULL, write_report
from frepo.report.sections import training_curves

TITLE = "Regression accuracy on training batches"
CROSSED = {"type": "cross_architecture", "architectures": [{"width": 8}, {"width": 16}]}


def test_a_chart_has_as_many_stages_as_it_has_colours_and_says_so():
    def chart(stages):
        labels = {f"s{n}": f"stage {n}" for n in range(stages)}
        rows = [{"name": "krr_accuracy", "stage": s, "step": step, "value": 0.5} for s in labels for step in (0, 1)]
        (found,) = training_curves(rows, labels)
        return len({row["stage"] for row in found.values}), found.subtitle

    assert chart(len(COLORS)) == (len(COLORS), "")
    assert chart(len(COLORS) + 1) == (len(COLORS), f"the first {len(COLORS)} of {len(COLORS) + 1} stages")


def test_each_chart_of_the_page_becomes_a_file_named_after_run_and_chart(fake_runs, database, tmp_path):
    course = {"type": "continual", "num_steps": 2, "num_classes": 10, "baselines": ["random"]}
    attack = {"type": "membership", "chunk_size": 100, "train_steps": [10, 20], "attacks": ["threshold"]}
    fake_runs("crossed", application=[CROSSED], scores=((0.5,), (0.25,)))
    fake_runs("course", application=[course], seed=1)
    fake_runs("attacked", application=[attack], seed=2)
    written = write_figures(database(), ["crossed", "course", "attacked"], tmp_path, "svg")
    assert [str(path.relative_to(tmp_path)) for path in written] == [
        "figures/crossed/across-architectures.svg",
        "figures/crossed/krr-accuracy.svg",
        "figures/course/continual.svg",
        "figures/course/krr-accuracy.svg",
        "figures/attacked/auc-threshold.svg",
        "figures/attacked/krr-accuracy.svg",
    ]
    page = write_report(database(), fake_runs.runs_dir, ["crossed", "course", "attacked"], tmp_path).read_text()
    assert page.count("<svg") == len(written)
    assert all(path.read_text().startswith("<svg") for path in written)


def test_a_figure_is_black_vector_graphics_without_a_title(fake_runs, database, tmp_path):
    fake_runs()
    (path,) = write_figures(database(), ["small"], tmp_path, "svg")
    figure = ET.fromstring(path.read_text())
    texts = [element.text for element in figure.iter("{http://www.w3.org/2000/svg}text")]
    assert "share right" in texts
    assert TITLE not in texts
    assert figure.find("{http://www.w3.org/2000/svg}title").text == TITLE
    assert "currentColor" not in path.read_text()
    assert min(float(size) for size in re.findall(r'font-size="([\d.]+)px"', path.read_text())) >= 12


def test_a_pdf_has_its_text_as_text(fake_runs, database, tmp_path):
    fake_runs()
    (path,) = write_figures(database(), ["small"], tmp_path, "pdf")
    assert path.name == "krr-accuracy.pdf"
    assert path.read_bytes().startswith(b"%PDF-")
    assert b"/FontFile" in path.read_bytes()
    assert b"/Subtype /Image" not in path.read_bytes()


def test_without_names_the_figures_are_those_of_the_runs_shown_in_full(fake_runs, database, tmp_path):
    for number in range(MOST_IN_FULL + 1):
        fake_runs(f"run{number}", seed=number)
    written = write_figures(database(), [], tmp_path, "svg")
    assert len({path.parent for path in written}) == MOST_IN_FULL


def test_two_runs_of_one_name_have_figures_in_folders_of_their_ids(fake_runs, database, tmp_path):
    ids = [fake_runs(seed=seed)[1].run_id for seed in (0, 1)]
    written = write_figures(database(), ids, tmp_path, "svg")
    assert [path.parent.name for path in written] == ids


def test_runs_without_charts_are_an_error_of_the_user(fake_runs, database, tmp_path):
    fake_runs(metrics=())
    with pytest.raises(FrepoError, match="there is no chart of small: a chart shows metrics of several steps"):
        write_figures(database(), ["small"], tmp_path, "pdf")
    assert not (tmp_path / "figures").exists()


def test_the_command_prints_the_files(fake_runs, database, tmp_path):
    fake_runs()
    places = ["--db", str(database()), "--runs-dir", str(fake_runs.runs_dir), "--out", str(tmp_path)]
    done = CliRunner().invoke(app, ["report", "small", "--figures", "svg", *places])
    assert done.exit_code == 0
    assert done.stdout == f"{tmp_path}/figures/small/krr-accuracy.svg\n"
    assert not (tmp_path / "small.html").exists()


def test_an_unknown_format_is_a_usage_error():
    done = CliRunner().invoke(app, ["report", "--figures", "png"])
    assert done.exit_code == 2
    assert "'png' is not one of 'svg', 'pdf'" in done.output

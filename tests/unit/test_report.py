import base64
import io
import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from frepo.errors import FrepoError
from frepo.jinja import templates
from frepo.report.caveats import caveats
from frepo.report.gallery import read_labels
from frepo.report.gather import accuracies, gather, report_runs, titles
from frepo.report.page import MOST_IN_FULL, write_report
from frepo.rundir import record
from frepo.store.ingest import ingest

TILE = 8
EVALUATE = {"type": "evaluate", "baselines": ["random"]}


class Page(HTMLParser):
    """The elements, attributes and text of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.styles: list[str] = []
        self.scripts: list[str] = []
        self.cells: list[str] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(self.source)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in ("meta", "link", "br", "img", "input"):
            self.open.append(tag)
        if tag == "td":
            self.cells.append("")

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" in self.open:
            self.styles.append(data)
            return
        if "script" in self.open:
            self.scripts.append(data)
            return
        self.text += data
        if "td" in self.open:
            self.cells[-1] += data

    def values(self, attribute: str) -> list[str]:
        return [value for name, value in self.attributes if name == attribute]

    def sheets(self) -> list[Image.Image]:
        found = re.findall(r"url\(data:image/[a-z]+;base64,([A-Za-z0-9+/=]+)\)", "".join(self.styles))
        return [Image.open(io.BytesIO(base64.b64decode(content))) for content in found]


@pytest.fixture
def write(fake_runs, tmp_path):
    """Ingest the run directories and return the path of the report on the runs of the given names."""

    def write(*names: str) -> Path:
        database = tmp_path / "results.duckdb"
        ingest(database, fake_runs.runs_dir)
        return write_report(database, fake_runs.runs_dir, names, tmp_path / "out" / "pages")

    return write


@pytest.fixture
def report(write):
    return lambda *names: Page(write(*names))


SCRIPT = "<script>alert(1)</script>"
NAME = "<script>alert(0)\"'&amp;"  # the name of a directory, too: no slash


def hostile(fake_runs) -> None:
    fake_runs(
        NAME,
        label=lambda label: f"{label}</style></svg>{SCRIPT}",
        class_names=(f"</style>{SCRIPT}", '" onload="alert(1)" a=\'&lt;b'),
        spec_text=f"# </pre>{SCRIPT} & &lt;\n",
        overrides=(f"name=</p>{SCRIPT}",),
        provenance={
            "frepo": SCRIPT,
            "packages": {SCRIPT: f"</td>{SCRIPT}"},
            "python": SCRIPT,
            "git": {"commit": SCRIPT, "dirty": True},
            "host": SCRIPT,
            "platform": SCRIPT,
            "cpu_count": 2,
            "command": f"frepo </code>{SCRIPT}",
        },
    )


def test_hostile_text_is_shown_and_never_run(fake_runs, report):
    hostile(fake_runs)
    page = report()
    assert not {"iframe", "object", "embed", "img", "link", "base", "form"} & set(page.tags)
    assert page.scripts == [templates(html=True).get_template("report/script.js").render()]
    assert [name for name, _ in page.attributes if name.startswith("on")] == []
    assert page.open == []
    assert "<" not in "".join(page.styles)
    for text in (NAME, f"# </pre>{SCRIPT} & &lt;", f"name=</p>{SCRIPT}", f"frepo </code>{SCRIPT}", f"</style>{SCRIPT}"):
        assert text in page.text
    assert f"</style>{SCRIPT}, image 1" in page.values("aria-label")
    assert any(f"{NAME}-" in value for value in page.values("id"))
    assert any(SCRIPT in value for value in page.values("aria-label"))


def test_a_page_has_the_same_elements_whatever_the_text(fake_runs, report):
    hostile(fake_runs)
    tags = report().tags
    fake_runs.runs_dir.rename(fake_runs.runs_dir.with_name("hostile"))
    (fake_runs.runs_dir.parent / "results.duckdb").unlink()
    fake_runs("harmless", overrides=("seed=0",))
    assert report().tags == tags


@pytest.mark.parametrize("make", [hostile, lambda fake_runs: fake_runs()], ids=["hostile", "harmless"])
def test_a_page_refers_to_nothing_outside(fake_runs, report, make):
    make(fake_runs)
    fake_runs("other", seed=1)
    page = report()
    names = ("src", "href", "xlink:href", "srcset", "data", "action", "poster", "background", "ping")
    references = [value for name, value in page.attributes if name in names]
    assert references
    assert [value for value in references if not value.startswith(("#", "data:"))] == []
    css = "".join([*page.styles, *page.values("style")])
    assert set(re.findall(r"url\(([^)]{0,22})", css)) == {"data:image/png;base64,"}
    assert "@import" not in css
    urls = re.findall(r'(\S+)="https?://', page.source)
    assert set(urls) <= {"xmlns", "xmlns:xlink"}
    assert any("default-src 'none'" in value for value in page.values("content"))
    assert "javascript:" not in page.source


def test_ids_are_unique_and_links_lead_to_them(fake_runs, report):
    fake_runs("one")
    fake_runs("two", seed=1)
    page = report()
    targets = {value.removeprefix("#") for value in page.values("href")}
    assert len(targets) == 2
    assert targets <= set(page.values("id"))


def test_the_page_of_one_run_has_its_name(fake_runs, write):
    fake_runs("one")
    fake_runs("two", seed=1)
    assert write("one").name == "one.html"
    assert write().name == "report.html"
    assert write("one", "two").name == "comparison.html"
    assert "two-" not in write("one").read_text()


def test_the_newest_run_of_a_name_is_shown(fake_runs, report):
    fake_runs(seed=1, scores=((0.125,), (0.25,)), created=datetime(2025, 1, 1, tzinfo=UTC))
    fake_runs(seed=2, scores=((0.375,), (0.25,)), created=datetime(2023, 1, 1, tzinfo=UTC))
    page = report("small")
    assert "seed 1: done." in page.text
    assert "12.5%" in page.cells
    assert "37.5%" not in page.cells


def test_accuracies_are_in_percent_with_std_and_gain_over_random(fake_runs, report):
    fake_runs(scores=((0.5, 0.75), (0.25, 0.5)), class_names="abcdef")
    cells = report().cells
    distilled, random = cells[0:10], cells[10:18]
    assert distilled[:3] == ["digits", "1", "distilled"]
    # Two networks: the interval is 12.7 standard errors wide to each side.
    assert distilled[4:8] == ["62.5 ± 17.7%", "-96.3 to 221.3", "+25.0", "81.2 ± 8.8%"]
    assert distilled[9] == "50.0 75.0"
    assert random[0] == "random"
    assert random[2:6] == ["37.5 ± 17.7%", "-121.3 to 196.3", "", "68.8 ± 8.8%"]
    assert random[7] == "25.0 50.0"


def test_worse_than_random_is_a_negative_gain(fake_runs, report):
    fake_runs(scores=((0.25,), (0.5,)))
    assert "-25.0" in report().cells


def test_seeds_of_one_experiment_are_taken_together_below_the_runs(fake_runs, report):
    means = (0.5, 0.75, 0.625)
    for seed, mean in enumerate(means):
        fake_runs(f"seed{seed}", seed=seed, application=[{"type": "evaluate"}], scores=((mean - 0.125, mean + 0.125),))
    fake_runs("alone", ipc=2, application=[{"type": "evaluate"}], scores=((0.5, 0.5),))
    page = report()
    before, _, after = page.source.partition("<h3>Over seeds</h3>")
    assert '<th scope="row">seed0, seed1, seed2</th>' in after.partition("</table>")[0]
    assert ">alone<" not in after.partition("</table>")[0]
    assert ">alone<" in before
    half = 4.3027 * 12.5 / 3**0.5  # Student, two degrees of freedom
    cells = page.cells[page.cells.index("62.5") :]
    assert cells[:6] == ["62.5", "12.5", f"{62.5 - half:.1f} to {62.5 + half:.1f}", "17.7", "3", "2"]


def test_runs_of_single_seeds_have_no_table_over_seeds(fake_runs, report):
    fake_runs("one")
    fake_runs("two", seed=1, ipc=2)
    assert "Over seeds" not in report().text


def test_without_a_baseline_there_is_no_gain(fake_runs, report):
    fake_runs(application=[{"type": "evaluate"}], scores=((0.25,),))
    assert report().cells[6] == ""


@pytest.mark.parametrize("change", [{"num_models": 3}, {"normalization": "batch"}, {"augmentation": ["crop"]}], ids=str)
def test_the_gain_is_over_random_images_evaluated_the_same_way(fake_runs, tmp_path, write, change):
    count = change.get("num_models", 2)
    fake_runs(
        application=[EVALUATE, {**EVALUATE, **change}],
        scores=[(0.5,) * 2, (0.25,) * 2, (0.875,) * count, (0.75,) * count],
    )
    write()
    (run,) = report_runs(tmp_path / "results.duckdb", ["small"])
    rows = accuracies(tmp_path / "results.duckdb", [run["run_id"]])[run["run_id"]]
    gains = {row["top1_mean"]: row["gain"] for row in rows}
    assert gains == {0.5: 0.25, 0.25: None, 0.875: 0.125, 0.75: None}


def test_a_run_that_nothing_was_evaluated_of_says_so(fake_runs, report):
    fake_runs(application=[], scores=())
    page = report()
    assert "No network has been evaluated yet." in page.text
    assert "git checkout c0ffee\nfrepo run small.toml" in page.text


def test_a_run_that_python_started_is_repeated_by_the_command_that_does_the_same(fake_runs, report):
    machine = {"host": "here", "platform": "Linux", "cpu_count": 2, "python": "3.11.0", "packages": {}}
    notebook = {**machine, "command": "ipykernel_launcher.py -f kernel.json", "frepo": "0.1.0"}
    fake_runs(overrides=("seed=1", "distill.steps=7 "), provenance=notebook)
    assert "frepo run specs/small.toml --set seed=1 --set 'distill.steps=7 '" in report().text


def test_images_are_shown_by_class_at_start_and_end(fake_runs, report):
    fake_runs(class_names=("a", "b", "c"), ipc=2)
    page = report()
    labels = [value for value in page.values("aria-label") if ", image " in value]
    assert labels == [f"{name}, image {image}" for _ in range(3) for name in "abc" for image in (1, 2)]
    for text in ("Start: real images", "End: after 1,000 steps", "Real images"):
        assert text in page.text
    assert "the first" not in page.text
    sheets = page.sheets()
    assert [sheet.size for sheet in sheets] == [(2 * TILE, 3 * TILE)] * 3
    assert [sheet.getpixel((TILE, 2 * TILE))[:2] for sheet in sheets] == [(20, 10)] * 3
    assert set(page.values("data-sheet")) == set(re.findall(r"data-sheet=(\w+)]", "".join(page.styles)))


def test_of_many_images_the_first_ten_of_each_class_are_shown(fake_runs, report):
    fake_runs(class_names=("a", "b"), ipc=12)
    page = report()
    assert page.text.count("These are the first 10 of 12 images of each class.") == 2
    for sheet in page.sheets():
        assert sheet.size == (10 * TILE, 2 * TILE)
        found = [sheet.getpixel((column * TILE + 3, TILE + 3))[:2] for column in range(10)]
        assert found == [(10, 10 * column) for column in range(10)]
    assert {value for value in page.values("aria-label") if value.startswith("a, ")} == {
        f"a, image {image}" for image in range(1, 11)
    }


def write_labels(directory: Path, labels: np.ndarray) -> None:
    np.savez(directory / record.DISTILLED, labels=labels)


def test_an_image_is_described_by_the_largest_values_of_its_label(fake_runs, report):
    plan, _ = fake_runs(class_names=("a", "b", "c", "d"))
    values = np.asarray([[0.25, 0.5, -1, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], np.float32)
    write_labels(fake_runs.directory("small", plan.stages[0]), values)
    page = report()
    assert "a, image 1; label b 0.50, a 0.25, d 0.00" in page.values("aria-label")
    assert page.values("data-label")[0] == "[[1,0.5],[0,0.25],[3,0.0],[2,-1.0]]"


def test_a_value_of_a_label_is_rounded_once(tmp_path):
    write_labels(tmp_path, np.asarray([[1.3653, 0.0]], np.float32))
    assert read_labels(tmp_path, 1) == [[(0, 1.37), (1, 0.0)]], "not 1.365 and then 1.36"


class Trap:
    """What would leave a trace if it were unpickled."""

    def __reduce__(self):
        return Path.touch, (Path("unpickled"),)


@pytest.mark.parametrize(
    "content",
    [
        None,
        b"no archive",
        b"",
        np.zeros((2, 3, 4), np.float32),
        np.zeros((3, 2), np.float32),
        np.asarray([[np.nan, 0], [0, 1]], np.float32),
        np.asarray([[Trap(), 0], [0, 1]], object),
    ],
    ids=["none", "garbage", "empty", "shape", "count", "nan", "pickle"],
)
def test_labels_that_cannot_be_read_are_none(monkeypatch, tmp_path, content):
    monkeypatch.chdir(tmp_path)
    if isinstance(content, bytes):
        Path(record.DISTILLED).write_bytes(content)
    elif content is not None:
        write_labels(tmp_path, content)
    assert read_labels(tmp_path, 2) is None
    assert not Path("unpickled").exists()


def test_images_without_labels_are_shown_with_a_note(fake_runs, report):
    fake_runs()
    page = report()
    assert page.text.count("The labels of the images are missing or unreadable.") == 2
    assert page.values("data-label") == []


def test_many_runs_are_an_index_and_the_newest_in_full(fake_runs, report):
    for number in range(MOST_IN_FULL + 2):
        fake_runs(f"run{number}", seed=number, created=datetime(2024, 1, 1 + number, tzinfo=UTC))
    page = report()
    newest = [f"run{number}" for number in reversed(range(2, MOST_IN_FULL + 2))]
    assert [value.partition("-")[0] for value in page.values("href")] == [f"#{name}" for name in newest]
    assert [
        value.partition("-")[0] for value in page.values("id") if value.startswith("run") and "-" in value
    ] == newest
    assert page.cells.count("62.5 ± 17.7%") == 2 * (MOST_IN_FULL + 2)  # in the index and in the table
    assert "`frepo report NAME` writes the others".replace("`", "") in page.text


def test_runs_are_compared_in_the_order_asked_for(fake_runs, report):
    fake_runs("new", seed=3, ipc=2, scores=((0.5,), (0.25,)), created=datetime(2025, 1, 1, tzinfo=UTC))
    fake_runs("old", application=[{"type": "evaluate"}], scores=((0.125, 0.375),))
    page = report("old", "new")
    assert page.text.index("old and new") < page.text.index("Test accuracy")
    for change in ("seed: 0 -> 3", "distill.ipc: 1 -> 2"):
        assert change in page.text
    assert "name: " not in page.text.partition("Learned images")[0]
    assert page.cells[2:8] == ["25.0 ± 17.7% (2)", "50.0% (1)", "+25.0", "", "", ""]
    assert page.cells[8:12] == ["random", "conv width 128 depth 3, no normalisation", "–", "25.0% (1)"]
    assert "old: frepo" in page.text
    assert "new: frepo" in page.text


def test_specs_that_differ_in_name_only_say_so(fake_runs, report):
    fake_runs("one")
    fake_runs("two")
    assert "Their specs differ in nothing but the name." in report("one", "two").text


def test_published_numbers_name_their_source_and_in_what_the_task_differs(fake_runs, report):
    fake_runs("same", dataset={"name": "cifar10"}, image_shape=(32, 32, 3))
    fake_runs("nearly", dataset={"name": "cifar10", "classes": [3, 5]}, image_shape=(32, 32, 3))
    page = report()
    assert "46.8 ± 0.7% [1]" in page.cells
    assert "(46.8 ± 0.7% [1]; here 2 classes)" in page.cells
    assert "cifar10 (2 classes)" in page.cells
    assert "[1] comparison tables of the PAD paper (2024)." in page.text
    assert set(page.values("href")) >= {"#source-1"}
    assert "source-1" in page.values("id")


def attempt(device="cpu", first_step=0, last_step=9, **provenance):
    return {"device": device, "first_step": first_step, "last_step": last_step, "provenance": provenance}


@pytest.mark.parametrize(
    ("run", "networks", "notes"),
    [
        ({}, [3, 5], []),
        ({"attempts": {"frepo-0": [attempt(code={"dirty": True})]}}, [5], ["uncommitted changes"]),
        (
            {"attempts": {"frepo-0": [attempt("a"), attempt("b")], "evaluate-0": [attempt("c")]}},
            [5],
            ["device: a, then b."],
        ),
        ({"attempts": {"frepo-0": [attempt("a", last_step=None), attempt("b")]}}, [5], []),
        (
            {"attempts": {"frepo-0": [attempt("a"), attempt("b", 9), attempt("a", 9), attempt("c", last_step=None)]}},
            [5],
            [],
        ),
        (
            {
                "attempts": {
                    "frepo-0": [attempt(numerics={"XLA_FLAGS": "--a"}), attempt(packages={"jax": "1"}), attempt()]
                }
            },
            [5],
            ["XLA_FLAGS: --a, then not set; jax: not set, then 1."],
        ),
        ({}, [1, 5], ["a single network have no std"]),
        ({}, [1, 2], ["a single network have no std", "stds are over 2 networks only"]),
        ({"status": "failed", "method": "imported"}, [], ["not finished (failed)", "learned elsewhere"]),
        ({"num_seeds": 1, "num_chunks": 2}, [], ["a single seed", "over 2 chunks only"]),
        ({"num_seeds": 2, "num_chunks": 3}, [], ["over 2 seeds only"]),
    ],
    ids=[
        *("sound", "dirty", "devices", "nothing saved", "nothing added", "numerics"),
        *("one", "few", "failed", "one seed", "few seeds"),
    ],
)
def test_what_makes_numbers_doubtful_is_said(run, networks, notes):
    found = caveats(
        {"status": "done", "attempts": {}, "method": "frepo", "num_seeds": None, "num_chunks": None, **run},
        [{"num_models": count} for count in networks],
    )
    assert len(found) == len(notes)
    assert all(note in sentence for note, sentence in zip(notes, found, strict=True))


def test_notes_stand_with_the_run(fake_runs, report):
    fake_runs()
    page = report()
    assert "note" in page.values("role")
    assert "uncommitted changes: the commit alone" in page.text


@pytest.mark.parametrize("damage", ["gone", "changed", "another image"])
def test_a_page_says_which_image_file_is_missing_or_changed(fake_runs, report, damage):
    plan, _ = fake_runs()
    path = fake_runs.directory("small", plan.stages[0]) / "images" / "step-1000.png"
    match damage:
        case "gone":
            path.unlink()
        case "changed":
            path.write_bytes(path.read_bytes() + b"\n")
        case "another image":
            path.write_bytes(path.with_name("step-0.png").read_bytes())
    page = report()
    assert f"The image file {path} is missing or has changed since it was recorded" in page.text
    assert len(page.sheets()) == 2


def test_curves_are_drawn_for_what_was_recorded(fake_runs, report):
    metrics = [(step, name, 0.5 + step) for step in (0, 10) for name in ("krr_accuracy", "krr_error", "other")]
    fake_runs(metrics=metrics)
    page = report()
    assert page.tags.count("svg") == 2
    assert "Regression accuracy on training batches" in page.text
    assert "Regression error on training batches" in page.text


def test_stages_of_one_label_are_lines_and_columns_of_their_own(fake_runs, report, tmp_path):
    networks = [{"width": 8, "normalization": "identity"}, {"width": 16, "normalization": "identity"}]
    crossed = {"type": "cross_architecture", "architectures": networks}
    plan, run = fake_runs(application=[crossed], scores=((0.5,), (0.25,)))
    report()
    database = tmp_path / "results.duckdb"
    (data,) = gather(database, report_runs(database, [run.name]))
    evaluated = [stage.directory.removeprefix("evaluate-") for stage in plan.stages[1:]]
    assert list(titles(data.stages).values()) == ["frepo", *evaluated]
    assert [cell["title"] for cell in data.classes[0]["cells"]] == evaluated


def test_without_metrics_there_are_no_curves(fake_runs, report):
    fake_runs(metrics=())
    page = report()
    assert "svg" not in page.tags
    assert "Training curves" not in page.text


@pytest.mark.parametrize(("name", "hint"), [("smal", "did you mean `small`?"), ("SMALL-1", ""), ("zzz", "")])
def test_an_unknown_name_is_an_error_with_the_nearest_name(fake_runs, write, name, hint):
    fake_runs("small")
    fake_runs("large", seed=1)
    with pytest.raises(FrepoError, match=f"there is no run `{name}` in ") as caught:
        write("large", name)
    assert ("did you mean" in str(caught.value)) == bool(hint)
    assert hint in str(caught.value)


def test_an_empty_database_has_nothing_to_report(fake_runs, write):
    with pytest.raises(FrepoError, match=r"there are no runs in .*; `frepo run SPEC` makes one"):
        write()


def test_a_page_that_cannot_be_written_is_an_error_of_the_user(fake_runs, write, tmp_path):
    fake_runs()
    (tmp_path / "out").write_text("a file in the way")
    with pytest.raises(FrepoError, match="cannot be written: Not a directory; name another directory with --out"):
        write("small")

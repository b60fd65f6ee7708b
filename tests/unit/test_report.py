import base64
import io
import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from frepo.errors import FrepoError
from frepo.report.gather import gather
from frepo.report.page import write_report
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
        self.cells: list[str] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(self.source)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in ("meta", "link", "br", "img"):
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
        self.text += data
        if "td" in self.open:
            self.cells[-1] += data

    def values(self, attribute: str) -> list[str]:
        return [value for name, value in self.attributes if name == attribute]

    def sheets(self) -> list[Image.Image]:
        found = re.findall(r"url\(data:image/png;base64,([A-Za-z0-9+/=]+)\)", "".join(self.styles))
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
            "git": {"commit": SCRIPT, "dirty": False},
            "host": SCRIPT,
            "platform": SCRIPT,
            "cpu_count": 2,
            "command": f"frepo </code>{SCRIPT}",
        },
    )


def test_hostile_text_is_shown_and_never_run(fake_runs, report):
    hostile(fake_runs)
    page = report()
    assert not {"script", "iframe", "object", "embed", "img", "link", "base", "form"} & set(page.tags)
    assert [name for name, _ in page.attributes if name.startswith("on")] == []
    assert page.open == []
    assert "<" not in "".join(page.styles)
    for text in (NAME, f"# </pre>{SCRIPT} & &lt;", f"name=</p>{SCRIPT}", f"frepo </code>{SCRIPT}", f"</style>{SCRIPT}"):
        assert text in page.text
    assert f"</style>{SCRIPT}: 1 at step 0" in page.values("aria-label")
    assert any(f"#{NAME}" in value for value in page.values("href"))
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
    assert write().name == write("one", "two").name == "report.html"
    assert "two-" not in write("one").read_text()


def test_the_newest_run_of_a_name_is_shown(fake_runs, report):
    fake_runs(seed=1, scores=((0.125,), (0.25,)), created=datetime(2025, 1, 1, tzinfo=UTC))
    fake_runs(seed=2, scores=((0.375,), (0.25,)), created=datetime(2023, 1, 1, tzinfo=UTC))
    page = report("small")
    assert "seed 1: done." in page.text
    assert "12.5%" in page.cells
    assert "37.5%" not in page.cells


def test_accuracies_are_in_percent_with_deviation_and_gain_over_random(fake_runs, report):
    fake_runs(scores=((0.5, 0.75), (0.25, 0.5)))
    cells = report().cells
    distilled, random = cells[0:11], cells[11:22]
    assert distilled[:4] == ["small", "digits", "1", "distilled"]
    # Two networks: the interval is 12.7 standard errors wide to each side.
    assert distilled[5:] == ["62.5 ± 17.7%", "-96.3 to 221.3", "+25.0", "", "81.2 ± 8.8%", "50.0 75.0"]
    assert random[3] == "random real images"
    assert random[5:] == ["37.5 ± 17.7%", "-121.3 to 196.3", "", "", "68.8 ± 8.8%", "25.0 50.0"]


def test_worse_than_random_is_a_negative_gain(fake_runs, report):
    fake_runs(scores=((0.25,), (0.5,)))
    assert "-25.0" in report().cells


def test_without_a_baseline_there_is_no_gain(fake_runs, report):
    fake_runs(application=[{"type": "evaluate"}], scores=((0.25,),))
    assert report().cells[7] == ""


@pytest.mark.parametrize("change", [{"num_models": 3}, {"normalization": "batch"}, {"augmentation": ["crop"]}], ids=str)
def test_the_gain_is_over_random_images_evaluated_the_same_way(fake_runs, tmp_path, write, change):
    count = change.get("num_models", 2)
    fake_runs(
        application=[EVALUATE, {**EVALUATE, **change}],
        scores=[(0.5,) * 2, (0.25,) * 2, (0.875,) * count, (0.75,) * count],
    )
    write()
    (data,) = gather(tmp_path / "results.duckdb", ["small"])
    gains = {row["top1_mean"]: row["gain"] for row in data.accuracies}
    assert gains == {0.5: 0.25, 0.25: None, 0.875: 0.125, 0.75: None}


def test_a_run_that_nothing_was_evaluated_of_says_so(fake_runs, report):
    fake_runs(application=[], scores=())
    page = report()
    assert "No network has been evaluated yet." in page.text
    assert page.cells[0] == "frepo run small.toml"


def test_images_are_shown_by_class_at_start_and_end(fake_runs, report):
    fake_runs(class_names=("a", "b", "c"), ipc=2)
    page = report()
    labels = [value for value in page.values("aria-label") if " at step " in value]
    assert labels == [f"{name}: 2 at step {step}" for step in (0, 1000, 0) for name in "abc"]
    for text in ("Start: real images", "End: after 1,000 steps", "Real images"):
        assert text in page.text
    assert "the first" not in page.text
    sheets = page.sheets()
    assert [sheet.size for sheet in sheets] == [(2 * TILE, 3 * TILE)] * 3
    assert [sheet.getpixel((TILE, 2 * TILE))[:2] for sheet in sheets] == [(20, 10)] * 3


def test_of_many_images_the_first_ten_of_each_class_are_shown(fake_runs, report):
    fake_runs(class_names=("a", "b"), ipc=12)
    page = report()
    assert page.text.count(", the first 10 of 12 of each class") == 3
    for sheet in page.sheets():
        assert sheet.size == (10 * TILE, 2 * TILE)
        found = [sheet.getpixel((column * TILE + 3, TILE + 3))[:2] for column in range(10)]
        assert found == [(10, 10 * column) for column in range(10)]
    assert {value for value in page.values("aria-label") if value.startswith("a: ")} == {
        "a: 10 at step 0",
        "a: 10 at step 1000",
    }


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

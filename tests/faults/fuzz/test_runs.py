"""Run directories of strangers: taken into the database, shown and removed, and nothing else happens."""

import copy
import hashlib
import json
import os
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
from hostile_inputs import PATHS, TEXTS, altered, as_json, damaged, json_of, png_bomb
from hypothesis import strategies as st

from frepo.errors import FrepoError
from frepo.rundir.lease import holder_of
from frepo.rundir.removal import plan_removal, remove
from frepo.store.ingest import ingest
from frepo.store.tables import accuracy_text, list_runs
from frepo.store.text import format_rows

HARMLESS = ("meta", "style", "title")


class Page(HTMLParser):
    """What of a page could run a script or ask for anything."""

    def __init__(self, content):
        super().__init__()
        self.trouble, self.scripts, self.policy = [], 0, None
        self.feed(content)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.scripts += tag == "script"
        if tag == "meta" and found.get("http-equiv") == "Content-Security-Policy":
            self.policy = found["content"]
        if tag in ("iframe", "object", "embed", "base", "form", "link", "frame", "applet"):
            self.trouble.append(tag)
        for name, value in found.items():
            if name.startswith("on"):
                self.trouble.append(f"{name}={value}")
            if name in ("src", "href", "xlink:href", "action", "data") and not (value or "").startswith(("#", "data:")):
                self.trouble.append(f"{name}={value}")


def must_be_harmless(path):
    page = Page(path.read_text())
    assert not page.trouble
    assert page.scripts <= 1
    assert page.policy.startswith("default-src 'none'; img-src data:; style-src 'unsafe-inline'")


@pytest.fixture(scope="module")
def files(fake_runs_in, tmp_path_factory):
    """Return the files of a run by path."""
    runs_dir = tmp_path_factory.mktemp("runs")
    fake_runs_in(runs_dir)("small", sweep="all", swept={"seed": 0}, metrics=())  # without charts, which take seconds
    for stage in runs_dir.glob("small/*-????????/images"):
        np.savez(stage.parent / "distilled.npz", images=np.zeros((2, 8, 8, 1)), labels=np.eye(2))
    return {str(path.relative_to(runs_dir)): path.read_bytes() for path in runs_dir.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def sound(files, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sound")
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture(scope="module")
def runs(reader_of, sound):
    return reader_of("runs", sound)


@pytest.fixture(scope="module")
def pages(reader_of, sound):
    return reader_of("pages", sound)


@pytest.fixture
def take(runs, folder_of):
    """Return what takes a directory of runs of these files and removes them; returns what is wrong with it."""

    def take(files):
        path = folder_of(files)
        beside = {place.name for place in path.parent.iterdir()}
        error = runs(path)
        assert {place.name for place in path.parent.iterdir()} == beside
        return error

    return take


@pytest.fixture
def show(pages, folder_of):
    """Return what shows a directory of runs of these files, and returns what is wrong with it and the page."""

    def show(files):
        report = pages.directory / "reports" / "report.html"
        report.unlink(missing_ok=True)
        error = pages(folder_of(files))
        if report.exists():
            must_be_harmless(report)
        return error, report.read_text() if report.exists() else ""

    return show


def rows_of(content):
    """Draw rows of results, some of them altered."""
    rows = [json.loads(line) for line in content.splitlines()]
    return altered(rows).map(
        lambda rows: b"".join(as_json(row) + b"\n" for row in (rows if isinstance(rows, list) else [rows]))
    )


def test_run_directories(take, show, files, try_all):
    changes = [st.tuples(st.just(name), damaged(content)) for name, content in files.items()]
    for name, content in files.items():
        if name.endswith(".json"):
            changes += [st.tuples(st.just(name), json_of(unsealed(content)))] * 6
        elif name.endswith(".jsonl"):
            changes += [st.tuples(st.just(name), rows_of(content))] * 2

    @st.composite
    def changed(draw):
        found = {**files, **dict([draw(st.one_of(*changes))])}
        name = draw(
            st.sampled_from(("small", "small", "<script>alert(1)<", "'; DROP TABLE runs; --", "\x1b]0;x\a", "a b"))
        )
        return {f"{name}/{path.partition('/')[2]}": content for path, content in found.items()}

    try_all(changed(), take, examples=40)
    try_all(changed(), show, examples=6)


def unsealed(content):
    """Return the content of a record without its digest, as strangers may write it."""
    return {name: value for name, value in json.loads(content).items() if name != "sha256"}


def record_of(files, kind):
    """Return path and content of the record of the run, or of the stage that has made images."""
    for name, content in files.items():
        record = unsealed(content) if name.endswith(".json") else {}
        if (kind == "run" and "/run-" in name) or record.get("images"):
            return name, record
    raise AssertionError


@pytest.mark.parametrize("path", ["../../../outside.png", "/etc/hostname", "images/../../../outside.png"])
def test_a_sheet_outside_of_its_stage_is_no_record(take, files, tmp_path, path):
    name, record = record_of(files, "stage")
    (tmp_path / "outside.png").write_bytes(b"secret")
    record["images"][0] = {**record["images"][0], "path": path, "sha256": hashlib.sha256(b"secret").hexdigest()}
    assert "is no path inside" in take({**files, name: as_json(record)})


@pytest.mark.parametrize("stage", ["../../other", "/", ".."])
def test_a_stage_outside_of_its_run_is_not_taken(take, files, stage):
    name, record = record_of(files, "run")
    assert "is no path inside" in take({**files, name: as_json({**record, "stages": [*record["stages"], stage]})})


@pytest.mark.parametrize("count", [0, 2**31 - 1])
def test_a_sheet_of_any_number_of_tiles_is_no_record(take, files, count):
    name, record = record_of(files, "stage")
    for field in ("rows", "columns"):
        changed = copy.deepcopy(record)
        changed["images"][0][field] = count
        assert "is damaged" in take({**files, name: as_json(changed)})


@pytest.mark.parametrize("content", [b"no image", png_bomb(20_000, 20_000), b"%!PS-Adobe-3.0 EPSF-3.0\n"])
def test_a_sheet_that_is_none_is_said_to_be_missing(show, files, content):
    name, record = record_of(files, "stage")
    for sheet in record["images"]:
        sheet["sha256"] = hashlib.sha256(content).hexdigest()
    folder = name.rpartition("/")[0]
    sheets = {f"{folder}/{sheet['path']}": content for sheet in record["images"]}
    error, page = show({**files, name: as_json(record), **sheets})
    assert error is None
    assert record["images"][0]["path"] in page


def test_nothing_waits_for_a_pipe_or_reads_a_device(runs, files, folder_of):
    for place in ("stage.json", "metrics.jsonl", "evaluations.jsonl"):
        for make in (os.mkfifo, lambda path: path.symlink_to("/dev/zero")):
            path = folder_of(files)
            for file in path.rglob(place):
                file.unlink()
                make(file)
            assert place in runs(path)


@pytest.mark.parametrize(
    "target", ["../.stages/..", "../.stages/../..", "../.stages/.x", "/.stages/x", "../../.stages/x"]
)
def test_removing_a_run_removes_nothing_that_its_links_name(fake_runs_in, tmp_path, target):
    make = fake_runs_in(tmp_path / "runs")
    make("mine")
    make("evil", seed=1)
    (tmp_path / "runs" / ".stages").mkdir()
    (tmp_path / ".stages" / "x").mkdir(parents=True)
    (tmp_path / "runs" / "evil" / "link-01234567").symlink_to(target)
    before = sorted(path for path in tmp_path.rglob("*") if "evil" not in path.parts)
    found = plan_removal(tmp_path / "runs", ["evil"])
    assert not found.freed
    remove(found)
    assert sorted(tmp_path.rglob("*")) == before


def test_removing_a_run_that_is_a_link_removes_the_link(fake_runs_in, tmp_path):
    fake_runs_in(tmp_path / "elsewhere")("theirs")
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "evil").symlink_to(tmp_path / "elsewhere" / "theirs")
    before = sorted((tmp_path / "elsewhere").rglob("*"))
    remove(plan_removal(tmp_path / "runs", ["evil"]))
    assert sorted((tmp_path / "elsewhere").rglob("*")) == before
    assert not (tmp_path / "runs" / "evil").is_symlink()


@pytest.mark.parametrize("change", [{"pid": 0}, {"pid": -1}, {"pid": "1"}, {"seconds": "x"}, {"seconds": float("inf")}])
def test_a_lease_names_one_process(tmp_path, change):
    import platform

    from frepo.rundir.lease import _kernel  # what a stranger on this machine can know

    holder = {"host": platform.node(), "kernel": _kernel(), "pid": os.getpid(), "started": "0", "seconds": 60.0}
    lease = tmp_path / ".lease-1"
    lease.write_text(json.dumps({**holder, "token": "x", **change}))
    assert holder_of(tmp_path) is None


def test_texts_of_a_stranger_run_nothing_in_a_page_or_a_terminal(fake_runs_in, tmp_path, monkeypatch):
    from frepo.report.page import write_report

    monkeypatch.chdir(tmp_path)
    texts = [text for text in (*TEXTS, *PATHS) if text and len(text) < 1000 and text.isprintable()] + [
        "\x1b]0;x\a",
        "\x9b2J",
    ]
    text = " ".join(texts)
    told = sys.modules["fake_runs"].PROVENANCE
    provenance = {key: text if isinstance(value, str) else value for key, value in told.items()}
    options = {"class_names": texts, "spec_text": text, "overrides": (text,), "sweep": text, "swept": {text: text}}
    metrics = [(step, name, 0.5) for step in (0, 1) for name in texts]
    make = fake_runs_in(tmp_path / "runs")
    make("<script>alert(1)<", provenance=provenance, metrics=metrics, **options)
    make("\x1b]0;x\a", seed=1, provenance=provenance, **options)
    database = tmp_path / "results.duckdb"
    assert ingest(database, tmp_path / "runs").runs == 2
    must_be_harmless(write_report(database, tmp_path / "runs", [], tmp_path / "reports"))
    shown = format_rows(list_runs(database), "table") + accuracy_text(
        database, [row[0] for row in list_runs(database).rows]
    )
    assert all(character.isprintable() for character in shown.replace("\n", ""))


def test_a_name_of_a_directory_is_no_pattern_and_no_path(fake_runs_in, tmp_path):
    fake_runs_in(tmp_path / "runs")("a")
    for pattern in ("../a", "/", "", "..", "."):
        with pytest.raises(FrepoError, match="there is no run"):
            plan_removal(tmp_path / "runs", [pattern])

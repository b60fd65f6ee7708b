"""The rows of metrics of a stage: what a resumed one keeps, and damage to them."""

import hashlib
import os

import pytest

from frepo.rundir.record import METRICS, append_rows, read_rows
from frepo.rundir.rows import MetricRows

ROWS = [{"step": number, "name": "n", "value": number / 4} for number in range(6)]


@pytest.mark.parametrize(("step", "kept"), [(0, []), (1, [0]), (5, [0, 3, 3]), (100, [0, 3, 3, 7])])
def test_rows_of_later_steps_are_dropped(tmp_path, step, kept):
    path = tmp_path / METRICS
    append_rows(path, [{"step": number, "name": "n", "value": 0.5} for number in (0, 3, 3, 7)])
    MetricRows(path).begin(step)
    assert [row["step"] for row in read_rows(path)] == kept


def test_rows_can_be_appended_after_a_cut_off_line_was_dropped(tmp_path):
    path = tmp_path / METRICS
    append_rows(path, [{"step": 0}, {"step": 1}])
    path.write_bytes(path.read_bytes()[:-4])
    MetricRows(path).begin(10)
    append_rows(path, [{"step": 2}])
    assert read_rows(path) == [{"step": 0}, {"step": 2}]


def test_dropping_rows_of_no_file_makes_none(tmp_path):
    MetricRows(tmp_path / METRICS).begin(3)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def written(tmp_path):
    """Return (the path of the rows, digests of those before each step)."""
    path = tmp_path / METRICS
    rows, digests = MetricRows(path), []
    rows.begin(0)
    for row in ROWS:
        digests.append(rows.digest)
        rows.append([row])
    return path, digests


@pytest.mark.parametrize("step", [0, 1, 4])
def test_rows_that_are_there_as_they_were_written_are_gone_on_from(written, step):
    path, digests = written
    path.write_bytes(path.read_bytes()[:-4])  # torn by a kill, behind all that counts
    rows = MetricRows(path)
    assert rows.fault(step, digests[step]) is None
    assert rows.fault(step, None) is None
    assert rows.begin(step) == ROWS[:step]
    assert rows.digest == digests[step]
    for row in ROWS[step:]:
        rows.append([row])
    assert read_rows(path) == ROWS
    assert [entry.name for entry in path.parent.iterdir()] == [METRICS]


def flip(path):
    content = bytearray(path.read_bytes())
    content[content.index(b"0.25")] ^= 1  # still a row, of another value
    path.write_bytes(content)


def garble(path):
    content = bytearray(path.read_bytes())
    content[0] ^= 0x80
    path.write_bytes(content)


def cut(path):
    path.write_bytes(path.read_bytes()[:60])


def empty(path):
    path.write_bytes(b"")


def replace_by_directory(path):
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("damage", [flip, garble, cut, empty, os.unlink, replace_by_directory])
def test_damaged_rows_are_noticed_set_aside_and_written_anew(written, damage):
    path, digests = written
    damage(path)
    rows = MetricRows(path)
    assert METRICS in rows.fault(4, digests[4])
    assert rows.begin(0) == []
    assert rows.digest == hashlib.sha256().hexdigest()
    aside = path.with_name(f"{METRICS}.damaged")
    assert aside.exists() == (damage is not os.unlink)
    for row in ROWS:
        rows.append([row])
    assert read_rows(path) == ROWS
    assert rows.fault(5, digests[5]) is None


def test_rows_before_the_damage_are_kept(written):
    path, digests = written
    content = path.read_bytes()
    path.write_bytes(content.replace(b"0.75", b"0.76"))
    rows = MetricRows(path)
    assert rows.fault(5, digests[5])
    assert rows.fault(3, digests[3]) is None
    assert rows.begin(3) == ROWS[:3]
    assert read_rows(path) == ROWS[:3]
    assert read_rows(path.with_name(f"{METRICS}.damaged"))[3]["value"] == 0.76

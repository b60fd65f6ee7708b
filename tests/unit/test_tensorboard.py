"""Event files hold what the record holds."""

import subprocess
import sys

import numpy as np

from frepo.rundir import record
from frepo.rundir.tensorboard import EventFile, event_file, write_events

ROWS = [
    {"step": 0, "name": "loss", "value": float(np.float32(0.1))},
    {"step": 0, "name": "krr_accuracy", "value": 0.3},
    {"step": 7, "name": "loss", "value": 1e-30},
]


def as_scalars(rows):
    return [(row["step"], row["name"], np.float32(row["value"])) for row in rows]


def test_scalars_are_the_rows_in_float32(tmp_path, scalars_in):
    with event_file(tmp_path, wanted=True) as events:
        events.begin(ROWS[:2])
        events.add(ROWS[2:])
    assert scalars_in(tmp_path) == as_scalars(ROWS)


def test_a_second_beginning_leaves_one_file_that_tells_a_viewer_to_forget_the_first(tmp_path, read_events, scalars_in):
    for rows in (ROWS, ROWS[:1]):
        with event_file(tmp_path, wanted=True) as events:
            events.begin(rows)
    version, start, *_ = read_events(tmp_path)
    assert version.file_version == "brain.Event:2"
    assert (start.step, start.session_log.status) == (0, start.session_log.START)
    assert scalars_in(tmp_path) == as_scalars(ROWS[:1])


def test_where_it_is_not_wanted_none_is_written_and_none_stays_that_would_not_go_on(tmp_path):
    with event_file(tmp_path, wanted=True) as events:
        events.begin(ROWS)
    with event_file(tmp_path, wanted=False) as events:
        assert events is None
    assert list(tmp_path.iterdir()) == []


def test_what_was_added_is_on_disk_within_seconds_while_the_file_is_open(tmp_path, scalars_in, monkeypatch):
    monkeypatch.setattr("frepo.rundir.tensorboard.FLUSH_SECONDS", -1.0)
    events = EventFile(tmp_path)
    events.begin(ROWS)
    assert scalars_in(tmp_path) == as_scalars(ROWS)
    events.close()


def test_a_finished_stage_gets_its_file_later_with_its_images_bit_for_bit(fake_runs, read_events, scalars_in):
    plan, _ = fake_runs()
    directory = fake_runs.directory("small", plan.stages[0])
    write_events(directory)
    assert scalars_in(directory) == as_scalars(record.read_rows(directory / record.METRICS))
    sheets = record.read_stage(directory).images
    images = [(e.step, v.image) for e in read_events(directory) for v in e.summary.value if v.HasField("image")]
    assert [step for step, _ in images] == [0, 1000] == [sheet.step for sheet in sheets]
    for sheet, (_, image) in zip(sheets, images, strict=True):
        assert image.encoded_image_string == (directory / sheet.path).read_bytes()
        assert (image.width, image.height, image.colorspace) == (8 * sheet.columns, 8 * sheet.rows, 3)
    (before,) = directory.glob("events.*")
    write_events(directory)
    assert list(directory.glob("events.*")) == [before]


LIGHT = """
import sys
from frepo.execute import runner
from frepo.rundir.tensorboard import EventFile
from pathlib import Path
assert "tensorboardX" not in sys.modules
EventFile(Path(sys.argv[1])).begin([])
assert "tensorboardX" in sys.modules
assert "torch" not in sys.modules
"""


def test_the_library_is_loaded_when_it_is_needed_and_does_not_load_pytorch(tmp_path):
    subprocess.run([sys.executable, "-W", "error", "-c", LIGHT, tmp_path], check=True)

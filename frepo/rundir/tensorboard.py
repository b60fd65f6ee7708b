"""The metrics and images of a stage as TensorBoard reads them: an index of the record on disk, made from it anew."""

import io
import sys
import time
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from functools import cache
from itertools import groupby
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from PIL import Image

from frepo.rundir import record
from frepo.rundir.files import delete
from frepo.rundir.record import ImageSheet, Row

PREFIX = "events"
PATTERN = f"{PREFIX}.out.tfevents.*"
FLUSH_SECONDS = 5.0


class EventFile:
    """The event file of one stage, in the stage's directory; there is never a second one.

    Each method raises OSError where the file cannot be written.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._writer: Any = None
        self._flushed = 0.0

    def begin(self, rows: Iterable[Row]) -> None:
        """Put a file with `rows` in place of what an earlier attempt may have left, which knew more steps, or fewer."""
        self.close()
        _remove(self._directory)
        self._writer = _library().EventsWriter(str(self._directory / PREFIX))
        # Says to a TensorBoard that shows the earlier file: forget all steps from here on.
        self._write(0, session_log={"status": "START"})
        self.add(rows)

    def add(self, rows: Iterable[Row]) -> None:
        """Add rows of metrics."""
        for step, group in groupby(rows, key=lambda row: row["step"]):
            values = [{"tag": row["name"], "simple_value": row["value"]} for row in group]
            self._write(step, summary={"value": values})
        if time.monotonic() - self._flushed > FLUSH_SECONDS:
            self._writer.flush()
            self._flushed = time.monotonic()

    def add_images(self, sheets: Sequence[ImageSheet]) -> None:
        """Add the contact sheets of the stage, which lie in its directory."""
        if self._writer is None:
            self.begin([])
        for sheet in sheets:
            path = self._directory / sheet.path
            if not path.exists():
                continue  # somebody has no use for it
            content = path.read_bytes()
            with Image.open(io.BytesIO(content)) as opened:
                size = {"width": opened.width, "height": opened.height, "colorspace": len(opened.getbands())}
            image = {**size, "encoded_image_string": content}
            self._write(sheet.step, summary={"value": [{"tag": sheet.view, "image": image}]})

    def close(self) -> None:
        """Write what is not yet on disk."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _write(self, step: int, **content: Any) -> None:
        self._writer.write_event(_library().Event(wall_time=time.time(), step=step, **content))


@contextmanager
def event_file(directory: Path, *, wanted: bool) -> Generator[EventFile | None]:
    """Yield the event file of the stage in `directory`, closed when the block ends, or None where it is not wanted.

    Then one that an earlier attempt has left goes away: it would not hold what the stage records from here on.
    """
    events = EventFile(directory) if wanted else None
    if not wanted:
        _remove(directory)
    try:
        yield events
    finally:
        if events:
            events.close()


def write_events(directory: Path) -> None:
    """Write the event file of a finished stage that has none.

    Raises:
        FrepoError: the record is damaged.
    """
    found = record.read_stage(directory)
    if found is None or any(directory.glob(PATTERN)):
        return
    with event_file(directory, wanted=True) as events:
        assert events is not None
        events.begin(record.read_rows(directory / record.METRICS))
        events.add_images(found.images)


def _remove(directory: Path) -> None:
    for path in directory.glob(PATTERN):
        delete(path)


@cache
def _library() -> Any:
    """Return `EventsWriter` and `Event` of tensorboardX.

    It imports PyTorch where that is installed, for nothing that is used here: seconds, and CUDA libraries of its own
    beside those of JAX. So PyTorch is kept away from it.
    """
    loaded = {name: sys.modules[name] for name in ("torch",) if name in sys.modules}
    sys.modules["torch"] = None  # pyright: ignore[reportArgumentType] (makes the import fail)
    try:
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto import event_pb2
    finally:
        del sys.modules["torch"]
        sys.modules.update(loaded)
    return SimpleNamespace(EventsWriter=EventsWriter, Event=vars(event_pb2)["Event"])

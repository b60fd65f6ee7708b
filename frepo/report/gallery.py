"""Images on a page: those of a stage from its start to its end, and thumbnails."""

import base64
import hashlib
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from frepo.data.pixels import opened
from frepo.data.sheet import LARGEST_SHEET
from frepo.errors import FrepoError
from frepo.reading import is_inside, read_regular
from frepo.rundir import record
from frepo.rundir.arrays import read_npz

TILE = 72
"""About the largest side of a displayed image, in CSS pixels."""

MOST_AT_LENGTH = 6
"""Sets of images of a run that are shown at length; of more, only what they started from and what came of them."""

MOST_COLUMNS = 10
"""Images of a class that are shown."""

SMALL = 32 * 1024
"""Files up to so many bytes are never compressed further."""

QUALITY = 80
"""Of compressed sheets, in 0..100 as WebP has it."""

CORNER = 5, 10
"""Images of a class, and classes, on a thumbnail."""

CORNER_TILE = 32
"""About the largest side of an image on a thumbnail, in CSS pixels."""

MOST_SHOWN = 5
"""Classes named for an image, the largest values first."""

SHOWN_DIGITS = 2
"""Of a value: as many as the page shows, for a value that is rounded twice may be off by one in the last."""

Label = list[tuple[int, float]]
"""Classes and their values."""


@dataclass(frozen=True)
class Sheet:
    """One row of tiles for each class."""

    key: str
    """Its name on the page."""
    step: int
    view: str
    uri: str
    tile_width: int
    """In pixels of the file, like the height."""
    tile_height: int
    columns: int
    all_columns: int
    rows: int


@dataclass(frozen=True)
class Thumbnail:
    """The first images of the first classes, a row for each class."""

    title: str
    step: int
    uri: str
    width: int
    """In CSS pixels, like the height."""
    height: int


@dataclass(frozen=True)
class Gallery:
    """What the template shows; `sheets` are in the order of steps, and there may be none."""

    key: str
    title: str
    class_names: list[str]
    views: list[str]
    sheets: list[Sheet]
    labels: list[Label] | None
    """Of each image, class by class and all of a class, not only those shown."""
    missing: list[str]
    """Files that are not there any more, or not as they were recorded."""

    @property
    def start(self) -> Sheet:
        """What it started from."""
        return self.of_view(self.views[0])[0]

    @property
    def end(self) -> Sheet:
        """What came of it."""
        return self.of_view(self.views[0])[-1]

    def of_view(self, view: str) -> list[Sheet]:
        """Return the sheets of a view by step."""
        return [sheet for sheet in self.sheets if sheet.view == view]

    @property
    def frames(self) -> str:
        """The keys of the sheets by view and step, as JSON for the script."""
        return json.dumps({view: [[sheet.step, sheet.key] for sheet in self.of_view(view)] for view in self.views})

    @property
    def tile_step(self) -> int:
        """What the side of a displayed image is a multiple of, in CSS pixels, so that its pixels stay even."""
        width = self.sheets[0].tile_width
        return width if width < 16 else width // 2 if width < 64 else width // 4

    @property
    def tile_most(self) -> int:
        """Width of a displayed image where there is room, in CSS pixels: a whole number of times its own."""
        width = self.sheets[0].tile_width
        return width * max(1, round(TILE / width))

    def label(self, row: int, column: int) -> Label:
        """Return the label of an image, empty where it is not known."""
        return self.labels[row * self.sheets[0].all_columns + column] if self.labels else []

    def description(self, row: int, column: int) -> str:
        """Return what is said of an image: its class, and the classes with the largest values in its label."""
        parts = ", ".join(f"{self._class(index)} {value:.2f}" for index, value in self.label(row, column)[:3])
        return f"{self._class(row)}, image {column + 1}" + (f"; label {parts}" if parts else "")

    def _class(self, index: int) -> str:
        return self.class_names[index] if index < len(self.class_names) else str(index)


def galleries(
    stages: list[dict[str, Any]], images: list[dict[str, Any]], runs_dir: Path, keys: Iterator[int]
) -> list[Gallery]:
    """Return a gallery for each stage that left images; `keys` numbers what is on the page."""
    of_stages = [(stage, [row for row in images if row["stage"] == stage["stage"]]) for stage in stages]
    of_stages = [(stage, rows) for stage, rows in of_stages if rows]
    brief = len(of_stages) > MOST_AT_LENGTH
    return [_gallery(stage, rows, stage_directory(runs_dir, stage), keys, brief=brief) for stage, rows in of_stages]


def _gallery(
    stage: dict[str, Any], rows: list[dict[str, Any]], directory: Path, keys: Iterator[int], *, brief: bool
) -> Gallery:
    steps = [row["step"] for row in rows]
    ends = {min(steps), max(steps)} if len(set(steps)) > 1 else set[int]()
    if brief:
        rows = [row for row in rows if row["view"] == "pixels" and row["step"] in (min(steps), max(steps))]
    sheets: list[Sheet] = []
    missing: list[str] = []
    for row in rows:
        exact = row["step"] in ends and row["view"] == "pixels" and not brief
        sheet = load_sheet(directory, row, f"s{next(keys)}", exact=exact)
        if sheet is None:
            missing.append(str(directory / row["path"]))
        else:
            sheets.append(sheet)
    views = sorted({sheet.view for sheet in sheets}, key=lambda view: (view != "pixels", view))
    count, columns = (sheets[0].rows, sheets[0].all_columns) if sheets else (0, 0)
    labels = read_labels(directory, count * columns)
    names = list(stage["class_names"] or [])[:count]
    names += [str(index) for index in range(len(names), count)]
    title = str(stage["label"]).removeprefix("evaluate-")
    return Gallery(f"g{next(keys)}", title, names, views, sheets, labels, missing)


def stage_directory(runs_dir: Path, row: dict[str, Any]) -> Path:
    """Return the directory of the stage that a row of the database is about."""
    return runs_dir / row["run"] / row["stage"]


def load_sheet(directory: Path, row: dict[str, Any], key: str, *, exact: bool) -> Sheet | None:
    """Return the sheet of a row of `images`, its first ten columns; None where the file is missing or has changed.

    Where it need not be `exact`, a large sheet is compressed: the steps in between would make a page too heavy to send.
    """
    found = _read(directory, row)
    if found is None:
        return None
    content, sheet = found
    columns = min(row["n_columns"], MOST_COLUMNS)
    kind = "png"
    width, height = sheet.width // row["n_columns"], sheet.height // row["n_rows"]
    shown = sheet.crop((0, 0, columns * width, sheet.height))
    if not exact and len(content) > SMALL:
        kind, content = "webp", _encoded(shown, "WEBP", quality=QUALITY)
    elif columns < row["n_columns"]:
        content = _encoded(shown, "PNG")
    uri = _uri(kind, content)
    return Sheet(key, row["step"], row["view"], uri, width, height, columns, row["n_columns"], row["n_rows"])


def load_thumbnail(directory: Path, row: dict[str, Any], title: str) -> Thumbnail | None:
    """Return the corner of the sheet of a row of `images`; None where the file is missing or has changed."""
    found = _read(directory, row)
    if found is None:
        return None
    _, sheet = found
    columns, rows = min(row["n_columns"], CORNER[0]), min(row["n_rows"], CORNER[1])
    tile = sheet.width // row["n_columns"], sheet.height // row["n_rows"]
    corner = sheet.crop((0, 0, columns * tile[0], rows * tile[1])).convert("RGB")
    scale = max(1, -(-max(tile) // CORNER_TILE))
    corner = corner.reduce(scale) if scale > 1 else corner
    wide = corner.width * max(1, CORNER_TILE // max(tile))
    return Thumbnail(
        title,
        row["step"],
        _uri("webp", _encoded(corner, "WEBP", quality=QUALITY)),
        wide,
        wide * corner.height // corner.width,
    )


def _read(directory: Path, row: dict[str, Any]) -> tuple[bytes, Image.Image] | None:
    """Return the file of a row of `images` and what it shows.

    None where it is missing, has changed or is no sheet of so many tiles.

    Rows and files may be a stranger's.
    """
    if not is_inside(row["path"]):
        return None
    try:
        content = read_regular(directory / row["path"], LARGEST_SHEET)
        if hashlib.sha256(content).hexdigest() != row["sha256"]:
            return None
        with opened(io.BytesIO(content), LARGEST_SHEET) as sheet:
            sheet.load()
            has_tiles = 0 < row["n_columns"] <= sheet.width and 0 < row["n_rows"] <= sheet.height
            return (content, sheet) if sheet.format == "PNG" and has_tiles else None
    except Exception:  # Pillow raises many kinds for bytes that are no image
        return None


def _uri(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"


def _encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def read_labels(directory: Path, count: int) -> list[Label] | None:
    """Return the label of each of `count` distilled images, or None where the file is missing or damaged."""
    try:
        (labels,) = read_npz(directory / record.DISTILLED, ("labels",), "the page goes without")
    except FrepoError:
        return None
    if labels.ndim != 2 or len(labels) != count or labels.dtype.kind != "f" or not np.isfinite(labels).all():
        return None
    largest = np.argsort(-labels, axis=1, kind="stable")[:, :MOST_SHOWN]
    return [
        [(int(c), round(float(label[c]), SHOWN_DIGITS)) for c in order]
        for label, order in zip(labels, largest, strict=True)
    ]

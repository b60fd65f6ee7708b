"""Contact sheets of distilled images, cut into one strip for each class."""

import base64
import hashlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

TILE = 64
"""Smallest side of a displayed image, in CSS pixels; small images are enlarged by a whole number."""
MOST_COLUMNS = 10


@dataclass(frozen=True)
class Grid:
    """A contact sheet to show: class c is the strip at -c * tile_height."""

    step: int
    uri: str
    tile_width: int
    tile_height: int
    columns: int
    all_columns: int
    rows: int


def load_grid(stage_directory: Path, row: dict[str, Any]) -> Grid | None:
    """Return the sheet of a row of `images`, its first ten columns; None where the file is missing or has changed."""
    path = stage_directory / row["path"]
    try:
        content = path.read_bytes()
    except OSError:
        return None
    if hashlib.sha256(content).hexdigest() != row["sha256"]:
        return None
    columns = min(row["n_columns"], MOST_COLUMNS)
    with Image.open(io.BytesIO(content)) as sheet:
        width, height = sheet.width // row["n_columns"], sheet.height // row["n_rows"]
        if columns < row["n_columns"]:
            buffer = io.BytesIO()
            sheet.crop((0, 0, columns * width, sheet.height)).save(buffer, "PNG")
            content = buffer.getvalue()
    scale = max(1, -(-TILE // min(width, height)))
    uri = f"data:image/png;base64,{base64.b64encode(content).decode('ascii')}"
    return Grid(row["step"], uri, width * scale, height * scale, columns, row["n_columns"], row["n_rows"])

"""Contact sheets of distilled images, as they are put on a page."""

import base64
import hashlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

MOST_COLUMNS = 10
"""Images of a class that are shown."""

SMALL = 32 * 1024
"""Files up to so many bytes are never compressed further."""

QUALITY = 80
"""Of compressed sheets, in 0..100 as WebP has it."""


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


def load_sheet(stage_directory: Path, row: dict[str, Any], key: str, *, exact: bool) -> Sheet | None:
    """Return the sheet of a row of `images`, its first ten columns; None where the file is missing or has changed.

    Where it need not be `exact`, a large sheet is compressed: the steps in between would make a page too heavy to send.
    """
    try:
        content = (stage_directory / row["path"]).read_bytes()
    except OSError:
        return None
    if hashlib.sha256(content).hexdigest() != row["sha256"]:
        return None
    columns = min(row["n_columns"], MOST_COLUMNS)
    kind = "png"
    with Image.open(io.BytesIO(content)) as sheet:
        width, height = sheet.width // row["n_columns"], sheet.height // row["n_rows"]
        shown = sheet.crop((0, 0, columns * width, sheet.height))
        if not exact and len(content) > SMALL:
            kind, content = "webp", _encoded(shown, "WEBP", quality=QUALITY)
        elif columns < row["n_columns"]:
            content = _encoded(shown, "PNG")
    uri = f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"
    return Sheet(key, row["step"], row["view"], uri, width, height, columns, row["n_columns"], row["n_rows"])


def _encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()

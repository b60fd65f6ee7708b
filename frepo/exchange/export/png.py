"""Distilled images as PNG files, a folder for each class."""

import csv
import io
import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from frepo.data.sheet import contact_sheet
from frepo.exchange.export.exported import Exported
from frepo.exchange.export.names import distinct

GRID = "grid.png"
TABLE = "labels.csv"
LONGEST = 60
"""Characters of a folder's name: no file system takes more than 255 bytes."""
DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
"""Names that Windows keeps for itself."""


def write_png(exported: Exported, directory: Path, taken: Iterable[str] = ()) -> None:
    """Write `grid.png`, `CLASS/000.png` and on, and `labels.csv` into `directory`.

    Values outside of 0..1 are clipped, and all are rounded to 8 bits. The folder is that of the image's hard label, its
    name that of the class as far as file systems take it, and none of `taken`.
    """
    folders = folder_names(exported.class_names, (GRID, TABLE, *taken))
    count, classes = exported.soft_labels.shape
    (directory / GRID).write_bytes(contact_sheet(exported.pixels, max(1, count // classes)))
    width = max(3, len(str(count - 1)))
    places = [0] * classes
    buffer = io.StringIO()
    table = csv.writer(buffer, lineterminator="\n")
    table.writerow(["file", "class", "hard_label", *(f"soft_label_{label}" for label in range(classes))])
    for position, label in enumerate(exported.hard_labels.tolist()):
        file = f"{folders[label]}/{places[label]:0{width}}.png"
        places[label] += 1
        (directory / file).parent.mkdir(exist_ok=True)
        (directory / file).write_bytes(contact_sheet(exported.pixels[position : position + 1], 1))
        soft = [str(value) for value in np.asarray(exported.soft_labels[position])]  # the shortest that gives its bits
        table.writerow([file, exported.class_names[label], label, *soft])
    (directory / TABLE).write_bytes(buffer.getvalue().encode("utf-8", "backslashreplace"))


def folder_names(class_names: Iterable[str], taken: Iterable[str] = ()) -> list[str]:
    """Return a name for each class that every file system takes and that no other class and none of `taken` has.

    Letters of any script, digits, spaces and `._+-` are kept, all else becomes `_`.
    """
    return distinct((_folder_name(*entry) for entry in enumerate(class_names)), taken, key=str.casefold)


def _folder_name(label: int, class_name: str) -> str:
    kept = re.sub(r"[^\w .+-]", "_", unicodedata.normalize("NFC", class_name)).strip(" .")[:LONGEST].strip(" .")
    return f"class {label}" if not kept.strip("_ ") else f"_{kept}" if DEVICES.fullmatch(kept) else kept

"""The images of one stage: what it started from, how they changed and what came of them."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from frepo.report.labels import Label, read_labels
from frepo.report.sheet import Sheet, load_sheet

TILE = 72
"""About the largest side of a displayed image, in CSS pixels."""

MOST_AT_LENGTH = 6
"""Sets of images of a run that are shown at length; of more, only what they started from and what came of them."""


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
    return [
        _gallery(stage, rows, runs_dir / stage["run"] / stage["stage"], keys, brief=brief) for stage, rows in of_stages
    ]


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
    labels = read_labels(directory, rows[0]["n_rows"] * rows[0]["n_columns"])
    names = list(stage["class_names"] or [])[: rows[0]["n_rows"]]
    names += [str(index) for index in range(len(names), rows[0]["n_rows"])]
    title = str(stage["label"]).removeprefix("evaluate-")
    return Gallery(f"g{next(keys)}", title, names, views, sheets, labels, missing)

"""How distilled images came to be: an animation of a stage's contact sheets."""

import io
from pathlib import Path

import numpy as np

from frepo.errors import FrepoError
from frepo.exchange.export import MotionFormat, render
from frepo.exchange.export.exported import EVOLUTIONS
from frepo.exchange.export.find import FoundStage, provenance
from frepo.exchange.export.write import README, new_directory
from frepo.rundir.record import ImageSheet

TILE = 64
"""Smallest side of an image, in pixels, where the whole is not larger than `LARGEST` then."""
LARGEST = 2048
"""Side of the whole, in pixels."""
MOST_IN_A_ROW = 10
WEBP_LIMIT = 16383
SECONDS = 4.0
"""The frames share so much time, but each has at least the shortest that players keep to."""
SHORTEST_MS, LAST_MS = 40, 1500


def write_evolution(found: FoundStage, kind: MotionFormat, out: Path) -> None:
    """Write an animation of the images of a stage, from the first to the last step, to the new directory `out`.

    Raises:
        FrepoError: there is one sheet only, or one is missing or damaged or too large; `out` is there and not empty, or
            cannot be written.
    """
    sheets = sorted((s for s in found.stage.images if s.view == "pixels"), key=lambda sheet: sheet.step)
    if len(sheets) < 2:
        raise FrepoError(
            f"{found.directory} has {len(sheets) or 'no'} contact sheet{'s' if len(sheets) != 1 else ''}: there is no "
            "evolution to show; export png for the images"
        )
    frames = [enlarged(_side_by_side(_tiles(found.directory, sheet))) for sheet in sheets]
    shape = frames[-1].shape
    if any(frame.shape != shape for frame in frames):
        raise FrepoError(f"the contact sheets in {found.directory} differ in size: there is no evolution to show")
    if kind == "webp" and max(shape) > WEBP_LIMIT:
        raise FrepoError(f"{shape[1]}x{shape[0]} pixels are more than WebP can hold ({WEBP_LIMIT} a side); export gif")
    with new_directory(out) as directory:
        (directory / EVOLUTIONS[kind]).write_bytes(animation(frames, kind))
        steps = [sheet.step for sheet in sheets]
        text = render.evolution_readme(provenance(found), kind, steps, (shape[1], shape[0]))
        (directory / README).write_text(text, encoding="utf-8")


def animation(frames: list[np.ndarray], kind: MotionFormat) -> bytes:
    """Return uint8 frames [h, w, 3], or [h, w] in gray, as one file that starts again at its end.

    WebP keeps every bit; GIF has 256 colours a frame, enough for gray ones.
    """
    from PIL import Image

    images = [Image.fromarray(frame) for frame in frames]
    each = max(SHORTEST_MS, round(1000 * SECONDS / len(images)))
    durations = [each] * (len(images) - 1) + [LAST_MS]
    options = {"lossless": True, "exact": True} if kind == "webp" else {"disposal": 1, "optimize": False}
    buffer = io.BytesIO()
    images[0].save(buffer, kind.upper(), save_all=True, append_images=images[1:], duration=durations, loop=0, **options)
    return buffer.getvalue()


def enlarged(tiles: np.ndarray) -> np.ndarray:
    """Return tiles [rows, columns, h, w, ...] as one picture, each pixel repeated a whole number of times."""
    rows, columns, height, width = tiles.shape[:4]
    scale = max(1, min(-(-TILE // min(height, width)), LARGEST // max(rows * height, columns * width)))
    whole = np.swapaxes(tiles, 1, 2).reshape(rows * height, columns * width, *tiles.shape[4:])
    return whole.repeat(scale, axis=0).repeat(scale, axis=1)


def _tiles(directory: Path, sheet: ImageSheet) -> np.ndarray:
    """Return the images of a contact sheet, uint8 [rows, columns, h, w, 3] or [rows, columns, h, w]."""
    from frepo.data.pixels import opened
    from frepo.data.sheet import LARGEST_SHEET

    path = directory / sheet.path
    try:
        with opened(path, LARGEST_SHEET) as image:
            whole = np.asarray(image if image.mode in ("L", "RGB") else image.convert("RGB"))
        height, width = whole.shape[0] // sheet.rows, whole.shape[1] // sheet.columns
        return np.swapaxes(whole.reshape(sheet.rows, height, sheet.columns, width, *whole.shape[2:]), 1, 2)
    except Exception as error:  # Pillow raises many kinds
        raise FrepoError(f"{path} cannot be read ({error}); run the spec with --fresh to make it again") from None


def _side_by_side(tiles: np.ndarray) -> np.ndarray:
    """Return the tiles of a single column in rows, others as they are."""
    rows, columns = tiles.shape[:2]
    if columns > 1:
        return tiles
    columns = min(MOST_IN_A_ROW, rows)
    padded = np.concatenate([tiles, np.zeros((-rows % columns, *tiles.shape[1:]), np.uint8)])
    return padded.reshape(-1, columns, *tiles.shape[2:])

"""Contact sheets: many small images in one PNG."""

import io

import numpy as np
from PIL import Image

LARGEST_SHEET = 2**27
"""Pixels of one, and bytes of its file."""


def contact_sheet(pixels: np.ndarray, columns: int) -> bytes:
    """Return a PNG of images [n, h, w, c] in 0..1 (clipped), row by row, `columns` to a row, without gaps.

    c is 1 or 3, and n a multiple of `columns`.
    """
    n, height, width, channels = pixels.shape
    levels = np.round(np.clip(pixels, 0, 1) * 255).astype(np.uint8)
    grid = levels.reshape(n // columns, columns, height, width, channels).transpose(0, 2, 1, 3, 4)
    sheet = grid.reshape(n // columns * height, columns * width, channels)
    buffer = io.BytesIO()
    Image.fromarray(sheet[..., 0] if channels == 1 else sheet).save(buffer, "PNG")
    return buffer.getvalue()

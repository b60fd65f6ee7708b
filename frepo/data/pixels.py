"""Image files to uint8 pixels of one size."""

import warnings
from collections.abc import Generator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from threading import RLock
from typing import BinaryIO

import numpy as np
from PIL import ExifTags, Image

from frepo.errors import FrepoError

GRAY_MODES = ("1", "L", "LA", "I;16", "I;16L", "I;16B", "I;16N")
COLOR_MODES = ("RGB", "RGBA", "RGBX", "P", "PA", "CMYK", "YCbCr", "HSV", "LAB")
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "DIB", "GIF", "TIFF", "PPM", "JPEG2000")
"""Pillow's names of the formats that are read: of others some are programs, as EPS is, which Ghostscript would run."""
LARGEST = 2**26
"""Largest number of pixels of an image; a larger image is refused as an attack or a mistake."""
LARGE = 2**22
"""Pixels from which images are decoded one after the other, whatever the number of threads: each takes 11 bytes."""

TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""Operations that bring an image upright, by its EXIF orientation."""


_one_large = RLock()


@contextmanager
def silent_pillow() -> Generator[None]:
    """Silence Pillow's warnings while the block runs: they name no file, and concern data other than pixels."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\b")
        yield


@contextmanager
def opened(file: Path | BinaryIO, most: int = LARGEST) -> Generator[Image.Image]:
    """Yield an image whose pixels are not decoded yet, at most `most`.

    Raises:
        ValueError: it has too many.
        Exception: of any kind, for bytes that are no image.
    """
    with Image.open(file, formats=FORMATS) as image:
        if image.width * image.height > most:
            raise ValueError(f"{image.width} x {image.height} pixels, more than {most:,} in all")
        with _one_large if image.width * image.height > LARGE else nullcontext():
            yield image


def read_header(file: Path | BinaryIO, name: object = None) -> tuple[str, tuple[int, int]]:
    """Return mode and size (width, height) of an image file.

    Messages call it `name`; left out: its path.

    Raises:
        FrepoError: it is not an image, it is too large, or its kind has no 8-bit pixels.
    """
    try:
        with opened(file) as image:
            mode, size = image.mode, image.size
    except Exception as error:  # Pillow raises many kinds for files of unknown formats
        raise unreadable(name or file, error) from None
    if mode not in GRAY_MODES + COLOR_MODES:
        raise FrepoError(f"{name or file} has pixels of mode {mode!r}; save it as 8-bit grey or colour")
    return mode, size


def read_pixels(file: Path | BinaryIO, channels: int, name: object = None) -> np.ndarray:
    """Return the pixels of an image file, uint8 [height, width, channels], in its EXIF orientation.

    Grey becomes three equal channels if `channels` is 3; transparency is dropped. A damaged EXIF block is ignored in
    all file formats, as Pillow does for JPEGs. Messages call the file `name`; left out: its path.

    Raises:
        FrepoError: the file is damaged or too large.
    """
    try:
        with opened(file) as image:
            image.load()  # before reading the orientation: loading turns TIFF files upright
            return eight_bits(_upright(image), channels)
    except Exception as error:  # truncated and damaged files raise many kinds
        raise unreadable(name or file, error) from None


def eight_bits(image: Image.Image, channels: int) -> np.ndarray:
    """Return pixels uint8 [height, width, channels] of an image, with 1 (grey), 3 or 4 channels.

    16-bit grey keeps its upper 8 bits.

    Raises:
        ValueError: Pillow cannot convert its pixels to these.
    """
    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8))
    if image.mode not in GRAY_MODES + COLOR_MODES:
        raise ValueError(f"pixels of mode {image.mode!r} are neither 8-bit nor 16-bit grey or colour")
    mode = {1: "L", 3: "RGB", 4: "RGBA"}[channels]
    image = image if image.mode == mode else image.convert(mode)
    return np.asarray(image).reshape(image.height, image.width, channels)


def _upright(image: Image.Image) -> Image.Image:
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # damaged blocks raise many kinds
        return image
    turn = TURNS.get(orientation) if isinstance(orientation, int) else None
    return image if turn is None else image.transpose(turn)


def unreadable(file: object, error: Exception) -> FrepoError:
    """Return the error for a file that is not an intact image."""
    reason = " ".join(str(error).split())[:200]
    return FrepoError(f"{file} cannot be read as an image ({reason}); repair it or remove it")


def fit(pixels: np.ndarray, resolution: int, name: str) -> np.ndarray:
    """Return the middle square of pixels uint8 [h, w, c], resized to [resolution, resolution, c] by area averaging.

    Raises:
        FrepoError: the image, called `name`, is smaller.
    """
    height, width, channels = pixels.shape
    side = min(height, width)
    if side < resolution:
        raise FrepoError(
            f"{name} has {height}x{width} pixels, less than dataset.resolution = {resolution}; choose a smaller "
            "resolution or remove it"
        )
    top, left = (height - side) // 2, (width - side) // 2
    square = pixels[top : top + side, left : left + side]
    if side == resolution:
        return square
    image = Image.fromarray(square[..., 0] if channels == 1 else square)
    resized = image.resize((resolution, resolution), Image.Resampling.BOX)
    return np.asarray(resized).reshape(resolution, resolution, channels)

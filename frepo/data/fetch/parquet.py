"""Parquet files of encoded images, as the Hub keeps them, through DuckDB and Pillow."""

import io
from collections.abc import Iterable
from pathlib import Path

import duckdb
import numpy as np
from PIL import Image

from frepo.data.pixels import eight_bits
from frepo.errors import FrepoError
from frepo.signals import raise_if_stopping

AT_ONCE = 2048


def read_parquet(
    paths: Iterable[Path], image: str, label: str, shape: tuple[int, int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the images, uint8 [n, *shape], of a column of encoded ones, and the labels, int32 [n], of another.

    Raises:
        FrepoError: the files are damaged or have other columns, or an image is of another size.
        Interrupted: a signal came.
    """
    files = sorted(map(str, paths))
    images: list[np.ndarray] = []
    labels: list[int] = []
    try:
        with duckdb.connect() as connection:
            rows = connection.execute(f'SELECT "{image}".bytes, "{label}" FROM read_parquet(?)', [files])  # noqa: S608
            while part := rows.fetchmany(AT_ONCE):
                raise_if_stopping()
                images += [_decoded(content, shape[2]) for content, _ in part]
                labels += [value for _, value in part]
        pixels = np.stack(images).astype(np.uint8, casting="safe")
        if pixels.shape[1:] != shape:
            raise ValueError(f"images of {pixels.shape[1:]}, not {shape}")
        return pixels, np.array(labels, np.int32)
    except FrepoError:
        raise
    except Exception as error:  # DuckDB, Pillow and NumPy raise a dozen kinds for damaged files
        reason = " ".join(str(error).split())[:200]
        raise FrepoError(f"{', '.join(files)} cannot be read ({reason})") from None


def _decoded(content: bytes, channels: int) -> np.ndarray:
    with Image.open(io.BytesIO(content)) as opened:
        return eight_bits(opened, channels)

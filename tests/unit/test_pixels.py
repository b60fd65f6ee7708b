"""Image files to pixels: kinds of files, orientation, cutting and resizing."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from frepo.data.pixels import fit, read_header, read_pixels
from frepo.errors import FrepoError

COLOR = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
GRAY = COLOR[..., 0]


def saved(tmp_path, image, name="image.png", **options):
    path = tmp_path / name
    image.save(path, **options)
    return path


@pytest.mark.parametrize("name", ["a.png", "a.webp", "a.bmp", "a.tiff"])
def test_lossless_files_give_their_pixels(tmp_path, name):
    options = {"lossless": True} if name.endswith("webp") else {}
    path = saved(tmp_path, Image.fromarray(COLOR), name, **options)
    np.testing.assert_array_equal(read_pixels(path, 3), COLOR)


def test_grey_becomes_three_equal_channels_or_stays_one(tmp_path):
    path = saved(tmp_path, Image.fromarray(GRAY))
    np.testing.assert_array_equal(read_pixels(path, 1), GRAY[..., None])
    np.testing.assert_array_equal(read_pixels(path, 3), np.repeat(GRAY[..., None], 3, axis=2))


def test_sixteen_bit_grey_keeps_its_upper_eight_bits(tmp_path):
    deep = np.random.default_rng(1).integers(0, 2**16, (4, 6), dtype=np.uint16)
    path = saved(tmp_path, Image.fromarray(deep))
    assert read_header(path)[0].startswith("I;16")
    np.testing.assert_array_equal(read_pixels(path, 1)[..., 0], deep >> 8)


def test_transparency_is_dropped_and_palettes_are_resolved(tmp_path):
    alpha = np.concatenate([COLOR, np.full((5, 7, 1), 9, np.uint8)], axis=2)
    np.testing.assert_array_equal(read_pixels(saved(tmp_path, Image.fromarray(alpha)), 3), COLOR)
    few = Image.fromarray(COLOR // 128 * 255).convert("P", palette=Image.Palette.ADAPTIVE, colors=8)
    np.testing.assert_array_equal(read_pixels(saved(tmp_path, few, "few.png"), 3), np.asarray(few.convert("RGB")))


def test_a_photograph_is_turned_as_its_camera_says(tmp_path):
    image = Image.fromarray(COLOR)
    exif = image.getexif()
    exif[0x0112] = 6  # to be turned by a quarter clockwise
    path = saved(tmp_path, image, exif=exif)
    np.testing.assert_array_equal(read_pixels(path, 3), np.rot90(COLOR, -1))


def test_floating_point_pixels_are_refused(tmp_path):
    path = saved(tmp_path, Image.fromarray(np.ones((3, 3), np.float32)), "float.tiff")
    with pytest.raises(FrepoError, match=r"float.tiff has pixels of mode 'F'"):
        read_header(path)


@given(st.integers(0, 1000), st.integers(1, 4), st.integers(1, 5), st.integers(0, 6), st.booleans())
@settings(derandomize=True, deadline=None, max_examples=40)
def test_the_middle_square_is_resized_by_area(seed, resolution, factor, more, wide):
    side = resolution * factor
    shape = (side, side + more) if wide else (side + more, side)
    pixels = np.random.default_rng(seed).integers(0, 256, (*shape, 3), dtype=np.uint8)
    start = more // 2
    square = pixels[:, start : start + side] if wide else pixels[start : start + side]
    means = square.reshape(resolution, factor, resolution, factor, 3).mean(axis=(1, 3))
    assert np.abs(fit(pixels, resolution, "some") - means).max() <= 1.0  # it rounds after each direction


def test_an_image_that_is_too_small_is_named():
    with pytest.raises(FrepoError, match=r"cat\.png has 5x7 pixels, less than dataset\.resolution = 6"):
        fit(COLOR, 6, "cat.png")


def uprighted_by_hand(pixels, orientation):
    """Return pixels [h, w, c] turned as the EXIF standard (its figure of the orientations) says."""
    flipped = pixels[:, ::-1] if orientation in (2, 4, 5, 7) else pixels
    return np.rot90(flipped, {1: 0, 2: 0, 3: 2, 4: 2, 5: 1, 6: -1, 7: -1, 8: 1}[orientation])


@pytest.mark.parametrize("name", ["a.png", "a.tiff"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_all_orientations_are_brought_upright(tmp_path, orientation, name):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path, Image.fromarray(COLOR), name, exif=exif)
    np.testing.assert_array_equal(read_pixels(path, 3), uprighted_by_hand(COLOR, orientation))
    with Image.open(path) as opened:
        np.testing.assert_array_equal(read_pixels(path, 3), np.asarray(ImageOps.exif_transpose(opened)))


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp"])
@pytest.mark.parametrize("block", [b"Exif\0\0garbagegarbage", b"Exif\0\0MM"])
def test_a_broken_exif_block_counts_as_none(tmp_path, name, block):
    image = Image.fromarray(COLOR)
    with_block = read_pixels(saved(tmp_path, image, name, exif=block), 3)
    np.testing.assert_array_equal(with_block, read_pixels(saved(tmp_path, image, f"plain-{name}"), 3))

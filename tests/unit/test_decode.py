"""Shares of classes, the cache, and TFRecord files."""

import errno
import os
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frepo.data.cache import cached
from frepo.data.decode import decode, share_of_each_class
from frepo.data.sources.source import Examples, Source
from frepo.data.sources.tfrecord import Records, find_records
from frepo.errors import FrepoError


@given(st.lists(st.integers(0, 4), min_size=5, max_size=200), st.floats(0.01, 0.99))
@settings(derandomize=True, deadline=None, max_examples=60)
def test_a_share_takes_from_each_class_at_least_one_and_not_all(labels, share):
    labels = np.array(labels)
    chosen = share_of_each_class(labels, share)
    np.testing.assert_array_equal(chosen, np.unique(chosen))
    np.testing.assert_array_equal(chosen, share_of_each_class(labels, share))
    for label in np.unique(labels):
        count, taken = np.sum(labels == label), np.sum(labels[chosen] == label)
        assert taken >= 1
        assert taken < count or count == 1
        assert abs(taken - share * count) <= 1


def source_of(train, test, pixels=np.uint8, class_names=("a", "b", "c")):
    """Return a source of images of one value, their position, with the labels that are given."""

    def examples(labels):
        def decode(stored, index):
            return np.full((2, 2, 1), stored, pixels), labels[index]

        return Examples(len(labels), lambda indices: indices, decode, lambda index: f"image {index}")

    return Source("some", class_names, [], "somewhere", lambda: (examples(train), examples(test)))


@pytest.mark.parametrize(
    ("train", "test", "expected"),
    [
        ([0, 1, 2], [], "somewhere has no images for testing: the split is empty"),
        ([], [0], "somewhere has no images for training: the split is empty"),
        (
            [0, 1, 2],
            [-1, -1],
            "2 of 2 images for testing have labels outside 0 to 2 (-1 of image 0, -1 of image 1);",
        ),
        ([0, 1, 2], [0, 3], "1 of 2 images for testing have labels outside 0 to 2 (3 of image 1);"),
        ([0, 1, 2, 2**40], [0], "1 of 4 images for training have labels outside 0 to 2 (1099511627776 of image 3);"),
        ([0, 1, 2, 7, 8, 9, -1], [0], "4 of 7 images for training have labels outside 0 to 2 (7 of image 3, 8 of"),
        ([1, 1], [0], "2 of 3 classes have no training images: a, c"),
    ],
)
def test_splits_are_held_to_their_classes_and_nothing_is_left(tmp_path, train, test, expected):
    source = source_of(train, test)
    with pytest.raises(FrepoError, match=re.escape(expected)):
        cached(tmp_path / "entry", lambda entry: {"fingerprint": decode(source, None, None, entry)})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("resolution", [None, 1])
@pytest.mark.parametrize("pixels", [np.uint16, np.int64, np.float32, bool])
def test_pixels_of_any_source_are_eight_bits(tmp_path, pixels, resolution):
    source = source_of([0, 1, 2], [0], pixels)
    with pytest.raises(FrepoError, match=f"image 0 has {np.dtype(pixels)} pixels; frepo needs 8-bit pixels"):
        cached(tmp_path / "entry", lambda entry: {"fingerprint": decode(source, resolution, None, entry)})


def test_an_array_of_the_cache_takes_no_values_that_it_cannot_hold(tmp_path):
    def fills(entry):
        with entry.writing("some", (2,), np.uint8) as writer:
            writer.append(np.array([1, 300]))
        return {}

    with pytest.raises(TypeError, match="Cannot cast"):
        cached(tmp_path / "entry", fills)


def fill(entry):
    with entry.writing("big", (10, 3), np.uint8) as writer:
        for start in range(0, 10, 4):
            writer.append(np.arange(30, dtype=np.uint8).reshape(10, 3)[start : start + 4])
    entry.store("small", np.float32([1, 2]))
    return {"fact": 1}


def test_an_entry_is_written_once_and_memory_mapped(tmp_path):
    arrays, facts = cached(tmp_path / "entry", fill)
    assert facts == {"fact": 1}
    assert isinstance(arrays["big"], np.memmap)
    np.testing.assert_array_equal(arrays["big"], np.arange(30).reshape(10, 3))
    again, _ = cached(tmp_path / "entry", pytest.fail)
    np.testing.assert_array_equal(again["small"], [1, 2])


def test_nothing_is_left_of_an_entry_that_fails(tmp_path):
    def fails(entry):
        fill(entry)
        raise FrepoError("no")

    with pytest.raises(FrepoError):
        cached(tmp_path / "entry", fails)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_an_error_before_anything_is_filled(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space left"):
        cached(tmp_path / "entry", fill)
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_entry_is_computed_again_with_a_warning(tmp_path, capsys):
    cached(tmp_path / "entry", fill)
    path = tmp_path / "entry" / "big.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    arrays, _ = cached(tmp_path / "entry", fill)
    assert "damaged" in capsys.readouterr().err
    assert arrays["big"][9, 2] == 29


def test_tfrecords_are_found_in_all_files(tmp_path, tfrecord):
    payloads = [b"one", b"", b"three" * 100]
    first, second = tmp_path / "a", tmp_path / "b"
    first.write_bytes(tfrecord(payloads[0]) + tfrecord(payloads[1]))
    second.write_bytes(tfrecord(payloads[2]))
    records = Records((*find_records(first), *find_records(second)))
    assert len(records) == 3
    assert records.__getitems__([2, 0, 1]) == [payloads[2], payloads[0], payloads[1]]


@pytest.mark.parametrize("cut", [1, 5, 19])
def test_a_tfrecord_file_that_was_cut_off_is_named(tmp_path, tfrecord, cut):
    path = tmp_path / "cut"
    path.write_bytes((tfrecord(b"one") + tfrecord(b"more"))[:-cut])
    with pytest.raises(FrepoError, match="cut ends in the middle of a record"):
        find_records(path)


def test_every_flipped_bit_of_a_tfrecord_is_found(tmp_path, tfrecord):
    path = tmp_path / "flipped"
    content = tfrecord(b"one") + tfrecord(b"more")
    for bit in range(8 * len(content)):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        with pytest.raises(FrepoError, match=r"is damaged: the record at byte (0|19) does not|ends in the middle"):
            Records(tuple(find_records(path))).__getitems__([0, 1])

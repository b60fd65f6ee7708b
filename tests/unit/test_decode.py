"""Shares of classes, the cache, and TFRecord files."""

import errno
import os
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frepo.data.cache import cached
from frepo.data.decode import share_of_each_class
from frepo.data.tfrecord import find_records
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


def record(payload):
    return struct.pack("<QI", len(payload), 0) + payload + bytes(4)


def test_tfrecords_are_found_in_all_files(tmp_path):
    payloads = [b"one", b"", b"three" * 100]
    first, second = tmp_path / "a", tmp_path / "b"
    first.write_bytes(record(payloads[0]) + record(payloads[1]))
    second.write_bytes(record(payloads[2]))
    records = find_records([first, second])
    assert [records[i] for i in range(len(records))] == payloads


@pytest.mark.parametrize("cut", [1, 5, 19])
def test_a_tfrecord_file_that_was_cut_off_is_named(tmp_path, cut):
    path = tmp_path / "cut"
    path.write_bytes((record(b"one") + record(b"more"))[:-cut])
    with pytest.raises(FrepoError, match="cut ends in the middle of a record"):
        find_records([path])

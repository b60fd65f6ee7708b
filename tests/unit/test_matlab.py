"""Files of MATLAB 5 against SciPy, which writes them, and damaged ones."""

import contextlib
import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.io import loadmat, savemat

from frepo.data.fetch import matlab
from frepo.data.fetch.matlab import read_arrays

DTYPES = ["f8", "f4", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8"]


def written(content, *, compressed=True):
    buffer = io.BytesIO()
    savemat(buffer, content, do_compression=compressed)
    return buffer.getvalue()


some_arrays = st.sampled_from(DTYPES).flatmap(
    lambda dtype: arrays.arrays(dtype, arrays.array_shapes(min_dims=2, max_dims=4, min_side=0, max_side=4))
)


@given(some_arrays, some_arrays, st.booleans())
def test_arrays_are_those_that_scipy_reads(first, second, compressed):
    content = written({"X": first, "other": second, "a longer name": second}, compressed=compressed)
    wanted, found = loadmat(io.BytesIO(content)), read_arrays(content, ("X", "a longer name", "none"))
    assert found.keys() == {"X", "a longer name"}
    for name, array in found.items():
        np.testing.assert_array_equal(array, wanted[name])
        assert (array.dtype, array.shape) == (wanted[name].dtype, wanted[name].shape)


def test_numbers_that_are_stored_smaller_than_their_class():
    content = written({"y": np.array([[1], [10], [3]], np.uint8)}, compressed=False)
    at = content.index((9).to_bytes(4, "little"), 128)  # the class, in the flags
    double = content[:at] + (6).to_bytes(4, "little") + content[at + 4 :]
    found = read_arrays(double, ("y",))["y"]
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, [[1], [10], [3]])


@pytest.mark.parametrize("value", ["a text", {"a": 1}, np.ones((2, 2)) * 1j])
def test_what_is_no_array_of_numbers(value):
    with pytest.raises(ValueError, match="real numbers"):
        read_arrays(written({"X": value}), ("X",))
    assert read_arrays(written({"X": value}), ("y",)) == {}


@given(compressed=st.booleans(), data=st.data())
def test_damaged_files_are_read_or_refused(compressed, data):
    arrays = {"X": np.arange(24, dtype=np.uint8).reshape(2, 3, 4), "y": np.arange(3.0)}
    content = bytearray(written(arrays, compressed=compressed))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    end = data.draw(st.integers(0, len(content)))
    with contextlib.suppress(ValueError):
        read_arrays(bytes(content[:end]), ("X", "y"))


@pytest.mark.parametrize("compressed", [True, False])
def test_arrays_have_bounded_memory(monkeypatch, compressed):
    monkeypatch.setattr(matlab, "MOST_UNPACKED", 1000)
    content = written({"X": np.zeros((30, 40), np.uint8)}, compressed=compressed)
    with pytest.raises(ValueError, match="more than 1,000 bytes"):
        read_arrays(content, ("X",))

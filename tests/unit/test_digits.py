"""The built-in digits: those of scikit-learn, divided as it divides them, without it."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from frepo.data.sources import digits
from frepo.data.sources.digits import TEST_SHARE, read_digits, stratified
from frepo.errors import FrepoError


def divided_by_scikit_learn(labels, share):
    return train_test_split(np.arange(len(labels)), test_size=share, random_state=0, stratify=labels)


def test_they_are_the_digits_of_scikit_learn():
    found, bunch = read_digits(), load_digits()
    train, test = divided_by_scikit_learn(bunch.target, TEST_SHARE)
    for images, labels, chosen in (
        (found.train_images, found.train_labels, train),
        (found.test_images, found.test_labels, test),
    ):
        assert (images.dtype, labels.dtype) == (np.uint8, np.int32)
        np.testing.assert_array_equal(images[..., 0], np.round(bunch.images[chosen] * (255 / 16)))
        np.testing.assert_array_equal(labels, bunch.target[chosen])
    assert (len(found.train_images), len(found.test_images)) == (1437, 360)


@given(st.lists(st.integers(2, 40), min_size=2, max_size=8), st.floats(0.1, 0.9), st.randoms(use_true_random=False))
def test_labels_are_divided_as_scikit_learn_divides_them(counts, share, random):
    labels = [label for label, count in enumerate(counts) for _ in range(count)]
    random.shuffle(labels)
    tested = np.ceil(share * len(labels))
    assume(min(tested, len(labels) - tested) >= len(counts))  # scikit-learn refuses others
    for ours, theirs in zip(stratified(np.array(labels), share), divided_by_scikit_learn(labels, share), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_scikit_learn_is_not_imported():
    code = "import sys; from frepo.data.sources.digits import *; read_digits(); assert 'sklearn' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("content", [None, b"no archive", b""])
def test_a_file_that_is_not_there_or_damaged_is_named(tmp_path, monkeypatch, content):
    path = tmp_path / "digits.csv.gz"
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setattr(digits, "FILE", str(path))
    with pytest.raises(FrepoError, match=r"the digits of scikit-learn cannot be read from .*digits\.csv\.gz"):
        read_digits()

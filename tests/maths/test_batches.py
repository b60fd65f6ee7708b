"""Batches and selections: every image equally often, and a function of seed and step alone."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from frepo.data.batches import batch_indices
from frepo.methods.select import random_per_class

SIZES = {"num_images": st.integers(1, 40), "batch_size": st.integers(1, 60), "seed": st.integers(0, 99)}


@given(**SIZES)
@settings(derandomize=True, deadline=None, max_examples=60)
def test_every_epoch_has_each_image_once(num_images, batch_size, seed):
    stream = batch_indices((seed, 2), num_images, batch_size, 0, 3 * num_images).ravel()
    for start in range(0, len(stream) - num_images + 1, num_images):
        assert sorted(stream[start : start + num_images]) == list(range(num_images))


@given(**SIZES, start=st.integers(0, 50), middle=st.integers(1, 20), rest=st.integers(1, 20))
@settings(derandomize=True, deadline=None, max_examples=60)
def test_batches_do_not_depend_on_how_a_run_is_cut(num_images, batch_size, seed, start, middle, rest):
    whole = batch_indices((seed,), num_images, batch_size, start, middle + rest)
    parts = [
        batch_indices((seed,), num_images, batch_size, start, middle),
        batch_indices((seed,), num_images, batch_size, start + middle, rest),
    ]
    np.testing.assert_array_equal(whole, np.concatenate(parts))
    assert whole.dtype == np.int32


def test_epochs_and_seeds_differ():
    first, second = batch_indices((0,), 100, 100, 0, 2)
    assert np.any(first != second)
    assert np.any(first != batch_indices((1,), 100, 100, 0, 1)[0])


@given(st.integers(0, 1000), st.integers(1, 5), st.integers(2, 6))
@settings(derandomize=True, deadline=None, max_examples=40)
def test_a_selection_has_the_same_number_of_each_class_without_repetition(seed, ipc, classes):
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(classes), ipc + 3))
    chosen = random_per_class(labels, classes, ipc, (seed, 0))
    assert labels[chosen].tolist() == np.repeat(np.arange(classes), ipc).tolist()
    assert len(set(chosen.tolist())) == classes * ipc

"""Training images on the device and on the host give the same batches."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from frepo.data.batches import batch_indices
from frepo.data.dataset import Dataset, DatasetInfo
from frepo.data.preprocess import fit_preprocess
from frepo.data.residency import training_images
from frepo.engine.prefetch import prefetched
from frepo.spec import Standardize, Zca

PIXELS = np.random.default_rng(0).integers(0, 256, (90, 6, 5, 3), dtype=np.uint8)
LABELS = np.arange(90, dtype=np.int32) % 3


def dataset(settings):
    fitted = fit_preprocess(settings, "some", PIXELS)
    stored = fitted.apply(PIXELS) if isinstance(settings, Zca) else PIXELS
    info = DatasetInfo("some", ("a", "b", "c"), PIXELS.shape[1:], 90, 90, 30, "0" * 64, 3)
    return Dataset(info, stored, LABELS, stored, LABELS, fitted)


@pytest.mark.parametrize("settings", [Standardize(type="standardize"), Zca(type="zca")])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_batches_from_the_device_and_from_the_host_are_the_same_bits(settings, dtype):
    data = dataset(settings)
    indices = batch_indices((0, 1), 90, 16, 3, 5)
    batches = []
    for residency in ("device", "host"):
        images = training_images(data, 16, residency, dtype)
        given = images.given(indices)
        take = jax.jit(images.take)
        batches.append([take(images.constants, jax.tree.map(lambda leaf, i=i: leaf[i], given)) for i in range(5)])
        assert (images.bytes_per_step > 0) == (residency == "host")
    jax.tree.map(np.testing.assert_array_equal, *batches)
    expected = data.preprocess.apply(PIXELS[indices[2]])
    tolerance = 1e-5 if dtype == jnp.float32 or not isinstance(settings, Zca) else 3e-2
    np.testing.assert_allclose(np.asarray(batches[0][2][0], np.float32), expected, rtol=tolerance, atol=tolerance)
    np.testing.assert_array_equal(batches[0][2][1], LABELS[indices[2]])


def test_pixels_stay_bytes_on_the_device_and_whitened_images_take_the_networks_dtype():
    assert training_images(
        dataset(Standardize(type="standardize")), 8, "device", jnp.float32
    ).constants.images.dtype == (jnp.uint8)
    assert training_images(dataset(Zca(type="zca")), 8, "auto", jnp.bfloat16).constants.images.dtype == jnp.bfloat16


def test_prefetched_inputs_are_those_asked_for_whatever_was_made_ahead():
    made = []

    def make(first, count):
        made.append((first, count))
        return np.arange(first, first + count)

    with prefetched(make) as inputs:
        for first, end, ahead in ((0, 10, 20), (10, 20, 30), (17, 20, 30), (20, 30, 30)):
            np.testing.assert_array_equal(inputs(first, end, ahead), np.arange(first, end))
    assert made.count((10, 10)) == 1
    assert (17, 3) in made


def test_an_error_in_the_thread_reaches_the_caller():
    def make(first, count):
        if first == 10:
            raise OSError("the disk is gone")
        return np.zeros(count)

    with prefetched(make) as inputs:
        inputs(0, 10, 20)
        with pytest.raises(OSError, match="the disk is gone"):
            inputs(10, 20, 30)

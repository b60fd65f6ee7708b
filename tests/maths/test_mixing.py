"""Mixtures of images and targets: against NumPy, and their laws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frepo.networks.mixing import mix

mixed = jax.jit(mix, static_argnums=(0, 1))


def batch(n=6, shape=(8, 12, 3), seed=0):
    """Return images of which each has one value, its number, and their one-hot targets."""
    numbers = jnp.arange(n, dtype=jnp.float32)
    return jnp.broadcast_to(numbers[:, None, None, None], (n, *shape)), jnp.eye(n)


def parameters(key, n, alpha):
    share_key, order_key, _ = jax.random.split(key, 3)
    return float(jax.random.beta(share_key, alpha, alpha)), np.asarray(jax.random.permutation(order_key, n))


@pytest.mark.parametrize("alpha", [0.2, 1.0, 8.0])
def test_mixup_blends_images_and_targets_alike(alpha):
    (x, y), key = batch(), jax.random.key(1)
    share, order = parameters(key, 6, alpha)
    images, targets = mixed("mixup", alpha, key, x, y)
    expected = share * np.arange(6) + (1 - share) * order
    np.testing.assert_allclose(images, np.broadcast_to(expected[:, None, None, None], images.shape), rtol=1e-6)
    np.testing.assert_allclose(targets, share * np.eye(6) + (1 - share) * np.eye(6)[order], atol=1e-6)


@given(st.integers(0, 2**31), st.sampled_from([0.3, 1.0, 4.0]))
@settings(max_examples=40, deadline=None)
def test_targets_of_cutmix_have_the_shares_of_the_pixels(seed, alpha):
    (x, y), key = batch(), jax.random.key(seed)
    share, order = parameters(key, 6, alpha)
    images, targets = (np.asarray(found) for found in mixed("cutmix", alpha, key, x, y))
    pasted = images[..., 0] != np.arange(6)[:, None, None]
    for number, other in enumerate(order):
        assert set(np.unique(images[number])) <= {number, other}
    moved = order != np.arange(6)
    if moved.any():
        area = pasted[moved].mean(axis=(1, 2))
        np.testing.assert_allclose(area, area[0])  # one rectangle for the batch
        expected = (1 - area[0]) * np.eye(6) + area[0] * np.eye(6)[order]
        np.testing.assert_allclose(targets[moved], expected[moved], atol=1e-6)
        assert area[0] <= 1 - share + 1e-6
        rows, columns = pasted[moved][0].any(axis=1), pasted[moved][0].any(axis=0)
        assert area[0] == pytest.approx(rows.sum() * columns.sum() / 96)  # it is a rectangle
        assert np.all(np.diff(np.flatnonzero(rows)) == 1)
        assert np.all(np.diff(np.flatnonzero(columns)) == 1)


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_shares_are_those_of_the_distribution_and_sums_of_targets_are_kept(kind):
    x, y = batch(4, (16, 16, 1))
    keys = jax.random.split(jax.random.key(0), 400)
    _, targets = jax.jit(jax.vmap(lambda key: mix(kind, 1.0, key, x, y)))(keys)
    np.testing.assert_allclose(targets.sum(axis=-1), 1, atol=1e-5)
    own = np.asarray(targets)[:, np.arange(4), np.arange(4)]
    assert own.min() >= 0
    if kind == "mixup":  # its mean is a half where the other is another one
        other = [parameters(key, 4, 1.0)[1] != np.arange(4) for key in keys]
        assert abs(own[np.array(other)].mean() - 0.5) < 0.03

"""Kernel ridge regression and the meta loss against dense float64 NumPy and finite differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frepo.methods.base import DistilledData
from frepo.methods.frepo.step import meta_loss
from frepo.networks.krr import krr_predict
from frepo.networks.losses import centered_one_hot, label_margin
from frepo.spec import Frepo

REG = 1e-2  # large enough that float32 and float64 see the same problem


def krr_numpy(f_t, f_s, y_s, reg):
    k_ss, k_ts = f_s @ f_s.T, f_t @ f_s.T
    ridge = reg * np.trace(k_ss) / len(k_ss) * np.eye(len(k_ss))
    return k_ts @ np.linalg.solve(k_ss + ridge, y_s)


def features_numpy(images, weights):
    """Features that are not linear in the images, easy to write twice."""
    return np.tanh(images.reshape(len(images), -1) @ weights)


def loss_numpy(images, labels, f_t, y_t, weights, spec, label_classes):
    s_images, s_labels = images, labels
    if spec.flip:
        s_images = np.concatenate([images, images[:, :, ::-1]])
        s_labels = np.concatenate([labels, labels])
    prediction = krr_numpy(f_t, features_numpy(s_images, weights), s_labels, spec.reg)
    loss = 0.5 * np.mean(np.sum((prediction - y_t) ** 2, axis=1))
    if spec.learn_labels:
        top = np.sort(labels, axis=1)
        loss -= np.mean(np.minimum(top[:, -1] - top[:, -2], 1 / label_classes))
    return loss


def problem(seed, n_support=6, n_target=20, classes=3, d=24):
    random = np.random.default_rng(seed)
    images = random.normal(size=(n_support, 3, 4, 1))
    labels = random.normal(size=(n_support, classes)) * 0.3
    weights = random.normal(size=(12, d)) * 0.4
    f_t = random.normal(size=(n_target, d))
    y_t = np.eye(classes)[random.integers(0, classes, n_target)] - 1 / classes
    return images, labels, weights, f_t, y_t


@given(st.integers(0, 2**31), st.integers(1, 12), st.integers(1, 30), st.integers(2, 9))
@settings(derandomize=True, deadline=None, max_examples=40)
def test_prediction_is_that_of_dense_float64(seed, n_support, n_target, classes):
    random = np.random.default_rng(seed)
    f_t, f_s = random.normal(size=(n_target, 15)), random.normal(size=(n_support, 15))
    y_s = random.normal(size=(n_support, classes))
    found = krr_predict(*(jnp.asarray(x, jnp.float32) for x in (f_t, f_s, y_s)), REG)
    np.testing.assert_allclose(found, krr_numpy(f_t, f_s, y_s, REG), rtol=2e-4, atol=2e-4)


def test_prediction_does_not_depend_on_the_scale_of_the_features():
    images, labels, weights, f_t, _ = problem(0)
    f_s = features_numpy(images, weights)
    one = krr_predict(jnp.asarray(f_t), jnp.asarray(f_s), jnp.asarray(labels), REG)
    other = krr_predict(jnp.asarray(50 * f_t), jnp.asarray(50 * f_s), jnp.asarray(labels), REG)
    np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_a_small_ridge_reproduces_the_labels_of_the_support():
    random = np.random.default_rng(1)
    f_s, y_s = random.normal(size=(5, 40)), random.normal(size=(5, 3))
    found = krr_predict(jnp.asarray(f_s), jnp.asarray(f_s), jnp.asarray(y_s), 1e-6)
    np.testing.assert_allclose(found, y_s, atol=1e-4)


def test_half_precision_features_are_regressed_in_float32():
    images, labels, weights, f_t, _ = problem(2)
    f_s = jnp.asarray(features_numpy(images, weights), jnp.bfloat16)
    f_t = jnp.asarray(f_t, jnp.bfloat16)
    found = krr_predict(f_t, f_s, jnp.asarray(labels), REG)
    assert found.dtype == jnp.float32
    exact = krr_numpy(np.asarray(f_t, np.float64), np.asarray(f_s, np.float64), labels, REG)
    np.testing.assert_allclose(found, exact, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize(("learn_labels", "among"), [(False, 3), (True, 3), (True, 8)])
def test_loss_and_gradients_are_those_of_finite_differences(flip, learn_labels, among):
    spec = Frepo(method="frepo", ipc=1, reg=REG, flip=flip, learn_labels=learn_labels)
    images, labels, weights, f_t, y_t = problem(3)

    def features(x):
        return jnp.tanh(x.reshape(len(x), -1) @ jnp.asarray(weights, jnp.float32))

    def loss(data):
        f_TxD, y_TxC = (jnp.asarray(array, jnp.float32) for array in (f_t, y_t))
        return meta_loss(data, features, f_TxD, y_TxC, among, spec)

    data = DistilledData(jnp.asarray(images, jnp.float32), jnp.asarray(labels, jnp.float32))
    (value, metrics), gradient = jax.value_and_grad(loss, has_aux=True)(data)
    assert value == pytest.approx(loss_numpy(images, labels, f_t, y_t, weights, spec, among), rel=1e-5)
    assert metrics["loss"] == value
    for name, array, found in (("images", images, gradient.images), ("labels", labels, gradient.labels)):
        expected = np.zeros_like(array)
        for index in np.ndindex(array.shape):
            step = np.zeros_like(array)
            step[index] = 1e-6
            high, low = (
                loss_numpy(
                    *((array + s, labels) if name == "images" else (images, array + s)), f_t, y_t, weights, spec, among
                )
                for s in (step, -step)
            )
            expected[index] = (high - low) / 2e-6
        np.testing.assert_allclose(found, expected, rtol=2e-3, atol=2e-5, err_msg=name)


def test_fixed_labels_leave_the_margin_out_of_the_loss():
    fixed = Frepo(method="frepo", ipc=1, reg=REG, learn_labels=False)
    images, labels, weights, f_t, y_t = problem(4)
    data = DistilledData(jnp.asarray(images, jnp.float32), jnp.asarray(labels, jnp.float32))

    def features(x):
        return jnp.tanh(x.reshape(len(x), -1) @ jnp.asarray(weights, jnp.float32))

    value, metrics = meta_loss(data, features, jnp.asarray(f_t), jnp.asarray(y_t), y_t.shape[1], fixed)
    assert value == metrics["krr_error"]


def test_accuracy_counts_the_largest_predictions():
    spec = Frepo(method="frepo", ipc=1, reg=1e-6, learn_labels=False)
    classes = np.array([0, 1, 2, 2])
    labels = np.asarray(centered_one_hot(jnp.asarray(classes), 3))
    images = np.eye(4)[:, :, None, None]
    wrong = labels[[0, 1, 2, 0]]
    data = DistilledData(jnp.asarray(images, jnp.float32), jnp.asarray(labels))
    _, metrics = meta_loss(data, lambda x: x.reshape(len(x), -1), jnp.eye(4), jnp.asarray(wrong), 3, spec)
    assert metrics["krr_accuracy"] == 0.75


@given(st.integers(0, 2**31), st.integers(2, 12))
@settings(derandomize=True, deadline=None, max_examples=30)
def test_label_margin_is_never_below_minus_one_over_classes(seed, classes):
    labels = np.random.default_rng(seed).normal(size=(7, classes)).astype(np.float32)
    top = np.sort(labels, axis=1)
    expected = -np.mean(np.minimum(top[:, -1] - top[:, -2], 1 / classes))
    assert float(label_margin(jnp.asarray(labels), classes)) == pytest.approx(expected, abs=1e-6)
    assert -1 / classes - 1e-6 <= expected <= 0


def test_centered_one_hot_sums_to_zero_over_all_classes():
    labels = centered_one_hot(jnp.array([2, 0]), 4)
    np.testing.assert_allclose(labels, [[-0.25, -0.25, 0.75, -0.25], [0.75, -0.25, -0.25, -0.25]])
    some = centered_one_hot(jnp.array([1, 0]), 2, 4)
    np.testing.assert_allclose(some, [[-0.25, 0.75], [0.75, -0.25]], err_msg="the first two of four classes")

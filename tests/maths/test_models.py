"""The network and its normalisations against NumPy and against counts by hand."""

from collections import Counter

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from frepo.errors import FrepoError
from frepo.networks.build import build_model
from frepo.networks.convnets import ConvNet
from frepo.networks.convolution import convolution
from frepo.networks.layers import relu_average_pool
from frepo.networks.scoring import Scorer
from frepo.networks.training import Trainer
from frepo.spec import Conv

NORMALIZATIONS = ["batch", "identity", "layer", "instance", "group", "one_group"]


def images(n=6, shape=(8, 8, 3), seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=(n, *shape)), jnp.float32)


def count(tree):
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def test_parameters_of_the_papers_network_at_width_128_on_32_pixels():
    model = build_model(Conv(normalization="identity"), 10, (32, 32, 3))
    variables = model.init(jax.random.key(0), jnp.zeros((1, 32, 32, 3)), train=False)
    convolutions = (3 * 9 + 1) * 128 + (128 * 9 + 1) * 256 + (256 * 9 + 1) * 512
    assert count(variables["params"]) == convolutions + (512 * 4 * 4 + 1) * 10


def test_one_channel_images_of_28_pixels_are_padded_to_32():
    model = build_model(Conv(width=4), 10, (28, 28, 1))
    (features, logits), _ = model.init_with_output(jax.random.key(0), jnp.zeros((2, 28, 28, 1)), train=False)
    assert features.shape == (2, 16 * 4 * 4)
    assert logits.shape == (2, 10)


def normalized_by_hand(kind, x):
    axes = {"batch": (0, 1, 2), "layer": (1, 2, 3), "one_group": (1, 2, 3), "instance": (1, 2)}
    if kind == "identity":
        return x
    if kind == "group":
        grouped = x.reshape(*x.shape[:3], 4, -1)
        mean, variance = grouped.mean((1, 2, 4), keepdims=True), grouped.var((1, 2, 4), keepdims=True)
        eps = 1e-6
        return ((grouped - mean) / np.sqrt(variance + eps)).reshape(x.shape)
    eps = 1e-5 if kind == "batch" else 1e-6
    return (x - x.mean(axes[kind], keepdims=True)) / np.sqrt(x.var(axes[kind], keepdims=True) + eps)


@pytest.mark.parametrize("kind", NORMALIZATIONS)
def test_a_block_normalizes_before_its_convolution_as_numpy_does(kind):
    model = ConvNet(kind, "float32", 0.9, 3, 4, 2)
    x = images()
    variables = model.init(jax.random.key(0), x, train=False)
    (features, _), _ = model.apply(variables, x, train=True, mutable=["batch_stats"])

    def convolve(x, name):
        weights = variables["params"][name]
        y = jax.lax.conv_general_dilated(
            x, weights["kernel"], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        y = jax.nn.relu(y + weights["bias"])
        return y.reshape(len(y), y.shape[1] // 2, 2, y.shape[2] // 2, 2, -1).mean(axis=(2, 4))

    first = np.asarray(convolve(x, "Conv_0"))
    expected = convolve(jnp.asarray(normalized_by_hand(kind, first)), "Conv_1")
    np.testing.assert_allclose(features, np.asarray(expected).reshape(6, -1), rtol=1e-3, atol=1e-4)


def test_batch_norm_in_the_pool_takes_nine_tenths_of_the_newest_batch():
    model = ConvNet("batch", "float32", 0.1, 3, 4, 2)
    x = images()
    variables = model.init(jax.random.key(0), x, train=False)
    _, updated = model.apply(variables, x, train=True, mutable=["batch_stats"])
    _, twice = model.apply(
        {"params": variables["params"], **updated}, images(seed=1), train=True, mutable=["batch_stats"]
    )
    _, newest = model.apply(variables, images(seed=1), train=True, mutable=["batch_stats"])
    mean = [np.asarray(v["batch_stats"]["BatchNorm_0"]["mean"]) for v in (updated, twice, newest)]
    np.testing.assert_allclose(mean[1], 0.1 * mean[0] + mean[2], rtol=1e-4, atol=1e-6)


def test_too_many_blocks_are_refused():
    build_model(Conv(depth=3), 10, (8, 8, 3))
    with pytest.raises(FrepoError, match="at most 3 blocks"):
        build_model(Conv(depth=4), 10, (8, 8, 3))


@pytest.mark.parametrize("kind", NORMALIZATIONS)
def test_training_lowers_the_loss_and_scores_count_right_answers(kind):
    trainer = Trainer(
        build_model(Conv(width=8, depth=2, normalization=kind), 4, (8, 8, 3)), optax.adam(3e-3), (8, 8, 3)
    )
    x, labels = images(12), np.arange(12) % 4
    targets = jnp.eye(4)[labels] - 0.25
    network = trainer.fresh(jax.random.key(0))
    step = jax.jit(trainer.step)
    losses = []
    for _ in range(60):
        network, loss = step(network, x, targets)
        losses.append(float(loss))
    assert losses[-1] < 0.2 * losses[0]
    logits = np.asarray(trainer.apply(network, x)[1])
    score = Scorer(lambda n, x: trainer.apply(n, x)[1], lambda x: x, 4)(network, np.asarray(x), labels)
    assert score.top1 == np.mean(logits.argmax(axis=1) == labels)
    assert score.top5 == 1.0  # four classes
    counted = Counter(zip(labels.tolist(), logits.argmax(axis=1).tolist(), strict=True))
    assert {(a, b): int(score.confusion[a, b]) for a, b in np.argwhere(score.confusion)} == counted


@pytest.mark.parametrize(("channels", "use_bias"), [(1, True), (2, True), (3, True), (3, False)])
def test_the_convolution_is_the_plain_one_whatever_the_channels(channels, use_bias):
    x = images(5, (6, 7, channels))
    layer = convolution(4, use_bias=use_bias)
    variables = layer.init(jax.random.key(0), x)
    assert variables["params"]["kernel"].shape == (3, 3, channels, 4)
    assert ("bias" in variables["params"]) == use_bias

    def plain(params, x):
        numbers = ("NHWC", "HWIO", "NHWC")
        y = jax.lax.conv_general_dilated(x, params["kernel"], (1, 1), "SAME", dimension_numbers=numbers)
        return y + params["bias"] if use_bias else y

    def total(function):
        return jax.value_and_grad(lambda params, x: jnp.sum(jnp.sin(function(params, x))), argnums=(0, 1))

    value, gradients = total(lambda params, x: layer.apply({"params": params}, x))(variables["params"], x)
    expected, expected_gradients = total(plain)(variables["params"], x)
    assert float(value) == pytest.approx(float(expected), rel=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), gradients, expected_gradients)


@pytest.mark.parametrize("shape", [(6, 4, 3), (7, 5, 2)])
def test_pooling_and_its_gradient_are_those_of_relu_and_average_pooling(shape):
    x = images(4, shape)
    plain = jax.value_and_grad(
        lambda x: jnp.sum(jnp.sin(nn.avg_pool(nn.relu(x), (2, 2), strides=(2, 2)))),
    )
    value, gradient = jax.value_and_grad(lambda x: jnp.sum(jnp.sin(relu_average_pool(x))))(x)
    expected, expected_gradient = plain(x)
    assert float(value) == pytest.approx(float(expected), rel=1e-6)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("kind", NORMALIZATIONS)
def test_bfloat16_rounds_activations_but_neither_parameters_nor_results(kind):
    x = images(20)
    full = build_model(Conv(width=8, depth=2, normalization=kind), 3, (8, 8, 3))
    half = build_model(Conv(width=8, depth=2, normalization=kind, precision="bfloat16"), 3, (8, 8, 3))
    variables = half.init(jax.random.key(0), x, train=False)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype(jnp.float32)}
    expected, found = full.apply(variables, x, train=False), half.apply(variables, x, train=False)
    for exact, rounded in zip(expected, found, strict=True):
        assert rounded.dtype == jnp.float32
        error = np.abs(np.asarray(exact - rounded)).max() / np.abs(np.asarray(exact)).max()
        assert 1e-5 < error < 3e-2  # bfloat16 has eight bits


def test_tf32_is_full_float32_on_a_device_without_it():
    x = images(20)
    full, fast = (build_model(Conv(width=8, depth=2, precision=p), 3, (8, 8, 3)) for p in ("float32", "tf32"))
    variables = full.init(jax.random.key(0), x, train=False)
    np.testing.assert_array_equal(full.apply(variables, x, train=False)[0], fast.apply(variables, x, train=False)[0])

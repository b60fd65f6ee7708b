"""The network and its normalisations against NumPy and against counts by hand."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from frepo.data.augment import OPERATIONS, augment
from frepo.errors import FrepoError
from frepo.models.build import build_model
from frepo.models.conv import ConvNet
from frepo.models.convolution import convolution
from frepo.models.pooling import relu_average_pool
from frepo.spec import Conv
from frepo.training import Scorer, Trainer

NORMALIZATIONS = ["batch", "identity", "layer", "instance", "group"]


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
    axes = {"batch": (0, 1, 2), "layer": (1, 2, 3), "instance": (1, 2)}
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
    model = ConvNet(3, 4, 2, kind, "float32", 0.9)
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
    model = ConvNet(3, 4, 2, "batch", "float32", 0.1)
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
    top1, top5 = Scorer(trainer, lambda x: x)(network, np.asarray(x), labels)
    assert top1 == np.mean(logits.argmax(axis=1) == labels)
    assert top5 == 1.0  # four classes


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("shape", [(8, 8, 3), (9, 6, 1)])
def test_an_augmentation_keeps_the_shape_and_follows_its_key(name, shape):
    x = images(20, shape)
    key = jax.random.key(0)
    one, again = OPERATIONS[name](key, x), OPERATIONS[name](key, x)
    assert one.shape == x.shape
    assert one.dtype == x.dtype
    np.testing.assert_array_equal(one, again)
    assert np.any(np.asarray(one) != np.asarray(x))


def test_flip_mirrors_about_half_of_the_images():
    x = images(400, (2, 3, 1))
    flipped = np.asarray(OPERATIONS["flip"](jax.random.key(1), x))
    mirrored = np.all(flipped == np.asarray(x)[:, :, ::-1], axis=(1, 2, 3))
    same = np.all(flipped == np.asarray(x), axis=(1, 2, 3))
    assert np.all(mirrored ^ same)
    assert 150 < mirrored.sum() < 250


def test_cutout_blanks_at_most_a_quarter_of_each_side():
    x = jnp.ones((200, 16, 16, 1))
    blank = np.asarray(OPERATIONS["cutout"](jax.random.key(2), x))[..., 0] == 0
    assert blank.any(axis=2).sum(axis=1).max() == 4
    assert blank.any(axis=1).sum(axis=1).max() == 4
    assert blank.sum(axis=(1, 2)).max() == 16


def test_a_translation_moves_by_at_most_an_eighth():
    x = jnp.zeros((300, 16, 16, 1)).at[:, 8, 8].set(1.0)
    moved = np.asarray(OPERATIONS["translate"](jax.random.key(3), x))[..., 0]
    np.testing.assert_allclose(moved.sum(axis=(1, 2)), 1, atol=1e-5)
    rows = (moved.sum(axis=2) * np.arange(16)).sum(axis=1) - 8
    assert np.abs(rows).max() <= 2 + 1e-4
    assert np.abs(rows).max() > 1.5


def test_a_crop_enlarges_and_shrinks_within_four_fifths_and_five_quarters():
    ramp = jnp.broadcast_to(jnp.arange(32.0)[None, :, None, None] + 100, (300, 32, 32, 1))
    cropped = np.asarray(OPERATIONS["crop"](jax.random.key(4), ramp))[:, 12:20, 16, 0]
    slopes = np.diff(cropped, axis=1)  # pixels of the original for each pixel of the result: 1 / scale
    np.testing.assert_allclose(slopes, slopes[:, :1] * np.ones(7), atol=1e-3)
    assert 1 / 1.25 - 1e-3 <= slopes.min() < 0.85
    assert 1.2 < slopes.max() <= 1 / 0.8 + 1e-3


def test_a_rotation_keeps_the_middle_and_the_distance():
    x = jnp.zeros((100, 17, 17, 1)).at[:, 8, 8].set(1.0)
    turned = np.asarray(OPERATIONS["rotate"](jax.random.key(5), x))[..., 0]
    np.testing.assert_allclose(turned[:, 8, 8], 1, atol=1e-5)


def test_one_operation_is_drawn_for_a_batch_each_about_equally_often():
    x = images(4)
    names = ("flip", "cutout", "color")
    drawn = [
        next(
            i
            for i, name in enumerate(names)
            if np.allclose(augment(names, key, x), OPERATIONS[name](jax.random.split(key)[1], x), atol=1e-6)
        )
        for key in jax.random.split(jax.random.key(0), 90)
    ]
    assert np.all(np.bincount(drawn, minlength=3) > 15)


def test_no_augmentation_changes_nothing():
    x = images()
    assert augment((), jax.random.key(0), x) is x


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_the_convolution_is_the_plain_one_whatever_the_channels(channels):
    x = images(5, (6, 7, channels))
    layer = convolution(4)
    variables = layer.init(jax.random.key(0), x)
    assert variables["params"]["kernel"].shape == (3, 3, channels, 4)

    def plain(params, x):
        numbers = ("NHWC", "HWIO", "NHWC")
        y = jax.lax.conv_general_dilated(x, params["kernel"], (1, 1), "SAME", dimension_numbers=numbers)
        return y + params["bias"]

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

"""Distribution matching: a step against NumPy, batches of classes, and what it learns of digits."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frepo.data.residency import LabelledImages, TrainingImages
from frepo.data.sources.digits import read_digits
from frepo.engine.randomness import key_data
from frepo.methods.base import DistilledData, StepConstants
from frepo.methods.dm.batches import class_batches, images_per_class, positions_of_classes
from frepo.methods.dm.step import (
    DmInput,
    augment_classes,
    class_means,
    embedding,
    image_optimizer,
    make_initial,
    make_step,
    matching_loss,
)
from frepo.methods.select import random_per_class
from frepo.networks.build import build_model
from frepo.networks.losses import centered_one_hot
from frepo.networks.siamese import OPERATIONS, draw
from frepo.networks.training import Trainer
from frepo.spec.architecture import DcConv

SHAPE = (2, 4, 2)
CLASSES, IPC, REAL = 3, 2, 5
RESIDENT = TrainingImages(None, lambda x: x, lambda data, chosen: (data.images[chosen], data.labels[chosen]), 0)


def small_model(normalization="identity", width=2):
    return build_model(DcConv(width=width, depth=1, normalization=normalization), CLASSES, SHAPE)


def small_world(seed=0):
    random = np.random.default_rng(seed)
    labels = np.repeat(np.arange(CLASSES, dtype=np.int32), REAL)
    real = LabelledImages(jnp.asarray(random.normal(size=(len(labels), *SHAPE)), jnp.float32), jnp.asarray(labels))
    images = random.normal(size=(CLASSES * IPC, *SHAPE)).astype(np.float32)
    return real, DistilledData(images, centered_one_hot(jnp.repeat(jnp.arange(CLASSES), IPC), CLASSES))


def constants_of(real, seed=0):
    return StepConstants(real, key_data((seed,))[0])


def given_at(step):
    return DmInput(np.int32(step), np.arange(CLASSES * REAL, dtype=np.int32))


def numpy_features(kernel, images):
    """Return features of `small_model`, float64 [n, d]: 3x3 convolution, ReLU, the means of 2x2 pixels."""
    n, height, width, _ = images.shape
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
    active = np.maximum(np.einsum("nhwcij,ijco->nhwo", windows, kernel), 0)
    return active.reshape(n, height // 2, 2, width // 2, 2, -1).mean(axis=(2, 4)).reshape(n, -1)


def numpy_loss(kernel, shifts, real):
    """Return the loss of distilled images, class by class, after a shift of brightness for each class."""
    shifts = np.array(shifts)[:, None, None, None, None]

    def means(images):
        shifted = images.reshape(CLASSES, -1, *SHAPE) + shifts
        return np.stack([numpy_features(kernel, own).mean(axis=0) for own in shifted])

    wanted = means(real)
    return lambda images: np.sum((means(images) - wanted) ** 2)


def differences(function, x, step=1e-6):
    """Return the gradient of a function of a float64 array by central differences."""
    gradient = np.empty_like(x)
    for place in np.ndindex(*x.shape):
        moved = np.zeros_like(x)
        moved[place] = step
        gradient[place] = (function(x + moved) - function(x - moved)) / (2 * step)
    return gradient


def test_two_steps_are_those_of_numpy(monkeypatch):
    """Each under a network of its own, with momentum, and one change of brightness for each class."""
    monkeypatch.setattr("frepo.networks.siamese.SATURATION", (1.0, 1.0))
    monkeypatch.setattr("frepo.networks.siamese.CONTRAST", (1.0, 1.0))
    real, start = small_world()
    model, optimizer, key = small_model(), image_optimizer(0.3, 0.5), jax.random.key(7)
    constants = constants_of(real, 7)
    step = jax.jit(make_step(model, RESIDENT.take, optimizer, ("color",), 1000))
    init = jax.jit(partial(model.init, train=False))
    state = make_initial(optimizer)(start)
    images, velocity = np.asarray(start.images, np.float64), 0.0
    for number in range(4, 6):
        state, metrics = step(state, constants, given_at(number))
        network_key, augmentation_key = jax.random.split(jax.random.fold_in(key, number))
        variables = init(network_key, jnp.zeros((1, *SHAPE)))
        (kernel,) = (leaf for leaf in jax.tree.leaves(variables["params"]) if leaf.ndim == 4)
        keys = jax.random.split(augmentation_key, CLASSES)
        shifts = [np.float64(draw(("color",), key, *SHAPE[:2]).brightness) for key in keys]
        assert len(set(shifts)) == CLASSES
        loss = numpy_loss(np.asarray(kernel, np.float64), shifts, np.asarray(real.images, np.float64))
        np.testing.assert_allclose(metrics["matching_loss"], loss(images), rtol=1e-5)
        velocity = 0.5 * velocity + differences(loss, images)
        images = images - 0.3 * velocity
        np.testing.assert_allclose(state.data.images, images, atol=2e-5)
    np.testing.assert_array_equal(state.data.labels, start.labels)


def test_the_loss_is_that_of_the_mean_features_class_by_class():
    random = np.random.default_rng(1)
    own, real = random.normal(size=(CLASSES * IPC, 7)), random.normal(size=(CLASSES * REAL, 7))
    found, wanted = class_means(jnp.asarray(own), CLASSES), class_means(jnp.asarray(real), CLASSES)
    loss = 0.0
    for label in range(CLASSES):
        mean = sum(own[label * IPC + i] for i in range(IPC)) / IPC
        target = sum(real[label * REAL + i] for i in range(REAL)) / REAL
        np.testing.assert_allclose(found[label], mean, rtol=1e-5, atol=1e-6)
        loss += sum((mean - target) ** 2)
    np.testing.assert_allclose(matching_loss(found, wanted), loss, rtol=1e-5)


def test_images_that_are_the_real_ones_are_left_alone():
    """Whatever the network and the operation drawn: they are changed alike, and nothing is to be learned."""
    real, _ = small_world()
    data = DistilledData(real.images, centered_one_hot(real.labels, CLASSES))
    optimizer = image_optimizer(1.0, 0.5)
    step = jax.jit(make_step(small_model("instance"), RESIDENT.take, optimizer, tuple(OPERATIONS), 1000))
    for number in range(10):
        state, metrics = step(make_initial(optimizer)(data), constants_of(real), given_at(number))
        assert metrics["matching_loss"] < 1e-9
        np.testing.assert_allclose(state.data.images, real.images, atol=1e-5)


def test_each_class_has_an_operation_of_its_own_for_its_real_and_its_distilled_images():
    images = jnp.asarray(np.random.default_rng(2).normal(size=(1, *SHAPE)), jnp.float32)
    keys = jax.random.split(jax.random.key(3), 8)
    augment = jax.jit(augment_classes, static_argnums=0)
    few, many = (augment(tuple(OPERATIONS), keys, jnp.tile(images, (8 * m, 1, 1, 1))) for m in (2, 5))
    few, many = few.reshape(8, 2, *SHAPE), many.reshape(8, 5, *SHAPE)
    np.testing.assert_allclose(many, jnp.broadcast_to(few[:, :1], many.shape), atol=1e-5)
    different = {np.asarray(one, np.float32).round(3).tobytes() for one in few[:, 0]}
    assert len(different) > 4


def test_one_program_serves_all_keys_and_each_key_and_step_has_a_network_of_its_own():
    real, start = small_world()
    optimizer, traced = image_optimizer(0.1, 0.5), []
    plain = make_step(small_model(), RESIDENT.take, optimizer, (), 1000)

    @jax.jit
    def step(*arguments):
        traced.append(arguments)
        return plain(*arguments)

    state = make_initial(optimizer)(start)
    losses = {
        float(step(state, constants_of(real, seed), given_at(number))[1]["matching_loss"])
        for seed in range(3)
        for number in range(3)
    }
    assert len(traced) == 1
    assert len(losses) == 9
    again = step(state, constants_of(real), given_at(0))[1]["matching_loss"]
    assert float(again) in losses


@pytest.mark.parametrize("normalization", ["instance", "layer", "identity"])
def test_features_do_not_depend_on_the_images_beside(normalization):
    images = jnp.asarray(np.random.default_rng(4).normal(size=(9, *SHAPE)), jnp.float32)
    model = small_model(normalization)
    whole, cut = jax.jit(lambda key: [embedding(model, SHAPE, key, chunk)(images) for chunk in (9, 2)])(
        jax.random.key(5)
    )
    np.testing.assert_allclose(cut, whole, atol=1e-5)


def test_batch_norm_takes_the_statistics_of_all_the_images_whatever_the_chunks():
    images = jnp.asarray(np.random.default_rng(4).normal(size=(9, *SHAPE)), jnp.float32)
    model, key = small_model("batch"), jax.random.key(5)
    variables = jax.jit(partial(model.init, train=False))(key, images[:1])
    kernel = np.asarray(next(leaf for leaf in jax.tree.leaves(variables["params"]) if leaf.ndim == 4), np.float64)
    padded = np.pad(np.asarray(images, np.float64), ((0, 0), (1, 1), (1, 1), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
    x = np.einsum("nhwcij,ijco->nhwo", windows, kernel)
    x = (x - x.mean(axis=(0, 1, 2))) / np.sqrt(x.var(axis=(0, 1, 2)) + 1e-5)
    expected = np.maximum(x, 0).reshape(9, 1, 2, 2, 2, -1).mean(axis=(2, 4)).reshape(9, -1)
    found = jax.jit(lambda key: embedding(model, SHAPE, key, 2)(images))(key)
    np.testing.assert_allclose(found, expected, atol=1e-4)


LABELS = st.lists(st.integers(0, 2), max_size=40).map(lambda some: np.array([0, 1, 2, *some], np.int32))


@given(LABELS, st.integers(1, 12), st.integers(0, 99))
@settings(derandomize=True, deadline=None, max_examples=40)
def test_batches_cover_each_class_evenly(labels, size, seed):
    classes = positions_of_classes(np.arange(len(labels)), labels, 3)
    steps = 2 * max(len(positions) for positions in classes)
    drawn = class_batches((seed, 1), classes, size, 0, steps).reshape(steps, 3, size)
    for label, positions in enumerate(classes):
        stream = drawn[:, label].ravel()
        counts = np.bincount(stream, minlength=len(labels))
        assert set(np.flatnonzero(counts)) == set(positions.tolist())
        assert np.ptp(counts[positions]) <= 1
        for start in range(0, len(stream) - len(positions) + 1, len(positions)):
            assert sorted(stream[start : start + len(positions)]) == positions.tolist()


@given(LABELS, st.integers(1, 12), st.integers(0, 20), st.integers(1, 9), st.integers(1, 9))
@settings(derandomize=True, deadline=None, max_examples=40)
def test_batches_do_not_depend_on_how_a_run_is_cut(labels, size, start, middle, rest):
    classes = positions_of_classes(np.arange(len(labels)), labels, 3)
    draw_batches = partial(class_batches, (5, 1), classes, size)
    whole = draw_batches(start, middle + rest)
    np.testing.assert_array_equal(
        whole, np.concatenate([draw_batches(start, middle), draw_batches(start + middle, rest)])
    )
    assert whole.dtype == np.int32
    assert whole.shape == (middle + rest, 3 * size)


def test_a_class_is_drawn_from_its_own_stream_among_the_images_kept():
    labels = np.array([0, 0, 0, 0, 1, 1, 1, 1], np.int32)
    classes = positions_of_classes(np.array([7, 1, 2, 5]), labels, 2)
    assert [positions.tolist() for positions in classes] == [[1, 2], [7, 5]]
    same = class_batches((0,), [np.arange(100)] * 2, 100, 0, 1).reshape(2, 100)
    assert np.any(same[0] != same[1])
    assert images_per_class(256, [np.arange(3), np.arange(9)]) == 9
    assert images_per_class(4, [np.arange(3), np.arange(9)]) == 4


@pytest.fixture(scope="module")
def digits():
    """Training and test digits, standardised."""
    raw = read_digits()
    mean, deviation = raw.train_images.mean(), raw.train_images.std()
    train, test = ((x.astype(np.float32) - mean) / deviation for x in (raw.train_images, raw.test_images))
    return LabelledImages(train, raw.train_labels), LabelledImages(test, raw.test_labels)


def accuracies_after_training_on(sets, test):
    """Return the test accuracies of networks that each trained for 60 steps on one of these distilled sets."""
    model = build_model(DcConv(width=16, depth=2, normalization="instance"), 10, (8, 8, 1))
    trainer = Trainer(model, optax.adam(3e-3), (8, 8, 1))
    fresh, train, predict = jax.jit(trainer.fresh), jax.jit(trainer.step), jax.jit(trainer.apply)
    accuracies = []
    for data in sets:
        network = fresh(jax.random.key(11))
        for _ in range(60):
            network, _ = train(network, data.images, data.labels)
        predicted = predict(network, test.images)[1].argmax(axis=-1)
        accuracies.append(float(np.mean(np.asarray(predicted) == test.labels)))
    return accuracies


def test_sixty_steps_on_digits_lower_the_loss_and_beat_the_real_images_they_start_from(digits):
    train, test = digits
    model = build_model(DcConv(width=16, depth=2, normalization="instance"), 10, (8, 8, 1))
    operations = ("color", "crop", "cutout", "scale", "rotate")  # as published for digits: no flip
    optimizer = image_optimizer(1.0, 0.5)
    step = jax.jit(make_step(model, RESIDENT.take, optimizer, operations, 1000))
    chosen = random_per_class(train.labels, 10, 1, (0, 0))
    start = make_initial(optimizer)(DistilledData(train.images[chosen], centered_one_hot(train.labels[chosen], 10)))
    classes = positions_of_classes(np.arange(len(train.labels)), train.labels, 10)
    batches = class_batches((0, 2), classes, 32, 0, 65)
    constants, state = constants_of(jax.device_put(train)), start
    for number in range(60):
        state, _ = step(state, constants, DmInput(np.int32(number), batches[number]))

    def unseen(state):
        """Return the mean loss under networks and batches that no step has met."""
        some = (step(state, constants, DmInput(np.int32(i), batches[i]))[1] for i in range(60, 65))
        return np.mean([float(metrics["matching_loss"]) for metrics in some])

    assert unseen(state) < 0.5 * unseen(start)
    at_random, learned = accuracies_after_training_on([start.data, state.data], test)
    assert learned > at_random + 0.1

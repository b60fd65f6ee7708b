"""RaT-BPTT: its gradient against plain unrolled differentiation, its window, memory, clipping and AT-BPTT's stages."""

from dataclasses import replace
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree

from frepo.engine.blocks import BlockRunner
from frepo.engine.phases import PhasePrograms
from frepo.methods.adam import Adam, started, stepped
from frepo.methods.base import DistilledData, StepConstants
from frepo.methods.rat_bptt.learning import noise, prefixes
from frepo.methods.rat_bptt.network import inner_loss, logits, real_loss, weights
from frepo.methods.rat_bptt.placement import EARLY, LATE, MIDDLE, drawn, first_placed, looked_at
from frepo.methods.rat_bptt.step import Parts, RatInput, RatState, RatStep, clipped, image_optimizer
from frepo.networks.build import build_model
from frepo.networks.losses import cross_entropy
from frepo.spec import Conv, RatBptt

C, IPC, SHAPE, REAL = 3, 2, (8, 8, 1), 7


@pytest.fixture
def in_float64():
    with jax.enable_x64(True):
        yield


def settings(**fields):
    given = {"method": "rat_bptt", "ipc": IPC, "steps": 10, "total": 6, "window": 3, "augmentation": []}
    return RatBptt.model_validate({**given, "inner_learning_rate": 0.01, **fields})


class World(NamedTuple):
    table: RatBptt
    step: RatStep
    state: RatState
    constants: StepConstants

    def given(self, prefix, number=0, first=0, last=0):
        numbers = (np.int32(value) for value in (number, prefix, first, last))
        return RatInput(*numbers, np.arange(REAL, dtype=np.int32))


def dense_parts():
    """Return a small smooth network in float64 that every inner step sees through other noise."""

    def fresh(key):
        one, two = jax.random.split(key)
        return {"in": jax.random.normal(one, (64, 8)) / 8, "out": jax.random.normal(two, (8, C)) / 3}

    def outputs(params, images):
        return jnp.tanh(images.reshape(len(images), -1) @ params["in"]) @ params["out"]

    def inner(key):
        def loss(params, data, number):
            noise = jax.random.normal(jax.random.fold_in(key, number), data.images.shape) / 10
            return cross_entropy(outputs(params, data.images + noise), data.labels)

        return loss

    def test(params, constants, batch, key):
        images, classes = constants[0][batch], constants[1][batch]
        found = outputs(params, images + jax.random.normal(key, images.shape) / 10)
        return cross_entropy(found, jax.nn.one_hot(classes, C)), jnp.mean(
            jnp.argmax(found, axis=-1) == classes, dtype=float
        )

    return Parts(fresh, inner, test, optax.sgd(1.0))  # so that the change of the images is minus their gradient


def network_parts(table, normalization, constants):
    """Return a real network, in float32."""
    model = build_model(Conv(width=4, depth=1, normalization=normalization), C, SHAPE)
    real = partial(real_loss, model, table, lambda data, batch: (data[0][batch], data[1][batch]), 100)
    return Parts(partial(weights, model, SHAPE), partial(inner_loss, model, table), real, optax.sgd(1.0))


def world(normalization=None, **fields):
    table, random = settings(**fields), np.random.default_rng(0)
    kind = jnp.float64 if normalization is None else jnp.float32
    real = jnp.asarray(random.normal(size=(REAL, *SHAPE)), kind), jnp.arange(REAL) % C
    parts = dense_parts() if normalization is None else network_parts(table, normalization, real)
    images = jnp.asarray(random.normal(size=(C * IPC, *SHAPE)), kind)
    data = DistilledData(images, jnp.repeat(jnp.eye(C, dtype=kind), IPC, axis=0))
    placed = first_placed(table) if table.placement == "adaptive" else None
    learned = (data.images, data.labels) if table.learn_labels else (data.images,)
    state = RatState(data, parts.optimizer.init(learned), kind(-1), placed)
    key = jax.random.key_data(jax.random.key(3))
    return World(table, RatStep(table, parts, 4), state, StepConstants(real, key))


def unrolled(w, prefix, number=0):
    """Return the gradients of images and labels by differentiating all of it at once; the prefix stands still."""
    keys = jax.random.split(jax.random.fold_in(jax.random.wrap_key_data(w.constants.key), number), 4)
    loss = w.step.parts.loss(keys[1])

    def train(inner, data, first, count):
        for at in range(first, first + count):
            inner = stepped(inner, jax.grad(loss)(inner.x, data, at), at, w.table.inner_learning_rate)
        return inner

    before = train(started(w.step.parts.fresh(keys[0])), w.state.data, 0, prefix)

    def after(data):
        inner = train(before, data, prefix, w.table.window)
        return w.step.parts.test(inner.x, w.constants.images, np.arange(REAL), keys[2])[0]

    return jax.jit(jax.value_and_grad(after))(w.state.data)


def by_phases(w, given):
    """Return what the host loop of a CPU computes, and what one program with loops does."""
    step = w.step.phased()
    traced = jax.jit(step)(w.state, w.constants, given)
    copy = jax.tree.map(jnp.copy, w.state)  # which is donated
    return PhasePrograms(step)(copy, w.constants, given, lambda: False), traced


@pytest.mark.parametrize("prefix", [0, 2, 3])
@pytest.mark.usefixtures("in_float64")
def test_the_gradient_is_that_of_unrolled_training_wherever_the_window_lies(prefix):
    w = world(learn_labels=True)
    loss, expected = unrolled(w, prefix)
    for state, metrics in by_phases(w, w.given(prefix)):
        np.testing.assert_allclose(metrics["trained_loss"], loss, rtol=1e-12)
        np.testing.assert_allclose(w.state.data.images - state.data.images, expected.images, rtol=1e-9, atol=1e-14)
        labels = np.maximum(w.state.data.labels - expected.labels, 0)
        np.testing.assert_allclose(state.data.labels, labels, rtol=1e-9, atol=1e-14)
        np.testing.assert_allclose(metrics["gradient_norm"], np.linalg.norm(expected.images), rtol=1e-9)
        assert (int(metrics["prefix"]), int(metrics["window"])) == (prefix, 3)


@pytest.mark.parametrize(
    ("normalization", "fields"),
    [
        ("batch", {}),
        ("instance", {"augmentation": ["flip", "rotate"]}),
        ("identity", {"batch_per_class": 1, "classes_per_batch": 2}),
    ],
)
def test_so_it_is_for_real_networks_with_augmentation_and_partial_batches(normalization, fields, long):
    if normalization != "instance" and not long:
        pytest.skip("takes minutes: set FREPO_TEST_LONG=1")
    w = world(normalization, window=2, **fields)
    loss, expected = unrolled(w, 1)
    (state, metrics), _ = by_phases(w, w.given(1))
    np.testing.assert_allclose(metrics["trained_loss"], loss, rtol=1e-5)
    found = np.asarray(w.state.data.images - state.data.images)
    assert np.linalg.norm(found - expected.images) < 2e-3 * np.linalg.norm(expected.images)
    np.testing.assert_array_equal(state.data.labels, w.state.data.labels)


@pytest.mark.usefixtures("in_float64")
def test_the_gradient_is_that_of_finite_differences():
    w = world(window=6)
    _, expected = unrolled(w, 0)
    direction = np.random.default_rng(1).normal(size=w.state.data.images.shape)

    def loss(change):
        data = replace(w.state.data, images=w.state.data.images + change * direction)
        return unrolled(w._replace(state=replace(w.state, data=data)), 0)[0]

    numeric = (loss(1e-6) - loss(-1e-6)) / 2e-6
    np.testing.assert_allclose(np.vdot(expected.images, direction), numeric, rtol=1e-5)


@pytest.mark.usefixtures("in_float64")
def test_adam_is_that_of_optax_and_its_derivative_is_a_number_where_gradients_are_zero():
    params = {"a": jnp.array([1.0, -2.0]), "b": jnp.array([[3.0]])}
    optimizer = optax.adam(0.1)
    inner, state, theirs = started(params), optimizer.init(params), params
    for number, scale in enumerate((1.0, -0.5, 0.0, 2.0)):
        gradient = jax.tree.map(lambda leaf, scale=scale: scale * leaf, params)
        inner = stepped(inner, gradient, number, 0.1)
        updates, state = optimizer.update(gradient, state)
        theirs = optax.apply_updates(theirs, updates)
    np.testing.assert_allclose(ravel_pytree(inner.x)[0], ravel_pytree(theirs)[0], rtol=1e-12)
    zero = jnp.zeros(2)
    derivative = jax.grad(lambda g: jnp.sum(stepped(Adam(zero, zero, zero), g, 0, 0.1).x))(jnp.array([0.0, 1.0]))
    assert np.all(np.isfinite(derivative))


@pytest.mark.usefixtures("in_float64")
def test_memory_does_not_grow_with_the_steps_before_the_window():
    def peak(**fields):
        w = world(**fields)
        lowered = jax.jit(w.step.phased()).lower(w.state, w.constants, w.given(0))
        memory = lowered.compile().memory_analysis()
        return memory.temp_size_in_bytes

    short, long, wide = peak(total=10, window=5), peak(total=500, window=5), peak(total=500, window=50)
    assert long <= short * 1.01
    weights_of_one = sum(leaf.nbytes for leaf in jax.tree.leaves(world().step.parts.fresh(jax.random.key(0))))
    assert wide - long == pytest.approx(45 * 3 * weights_of_one, rel=0.15)


def test_the_gradient_is_clipped_to_twice_the_running_mean_of_its_norm():
    gradient = jnp.array([3.0, 4.0])
    same, norm, mean = clipped(gradient, jnp.float32(-1))
    np.testing.assert_array_equal(same, gradient)
    assert (norm, mean) == (5, 5)
    shorter, norm, mean = clipped(10 * gradient, mean)
    np.testing.assert_allclose(mean, 0.9 * 5 + 0.1 * 50)
    np.testing.assert_allclose(np.linalg.norm(shorter), 2 * mean)
    nothing, _, _ = clipped(jnp.zeros(2), mean)
    np.testing.assert_array_equal(nothing, 0)


def test_a_batch_has_as_many_images_of_as_many_classes_as_it_should(monkeypatch):
    seen = []

    def loss(logits, labels):
        seen.append(labels)
        return cross_entropy(logits, labels)

    monkeypatch.setattr("frepo.methods.rat_bptt.network.cross_entropy", loss)
    w = world("identity", batch_per_class=1, classes_per_batch=2)
    params = w.step.parts.fresh(jax.random.key(0))
    drawn_classes = set()
    for number in range(20):
        w.step.parts.loss(jax.random.key(1))(params, w.state.data, number)
        (labels,) = seen
        assert labels.shape == (2, C)
        assert np.all(np.sum(labels, axis=0) <= 1)
        drawn_classes.add(tuple(np.flatnonzero(np.sum(labels, axis=0))))
        seen.clear()
    assert drawn_classes == {(0, 1), (0, 2), (1, 2)}


def test_windows_are_equally_likely_at_all_places_and_follow_from_seed_and_step():
    table, steps = settings(total=10, window=4), np.arange(7000)
    found = prefixes(5, table, steps)
    assert np.bincount(found).tolist() == pytest.approx([1000] * 7, rel=0.15)
    np.testing.assert_array_equal(found[40:50], prefixes(5, table, steps[40:50]))
    assert set(prefixes(5, settings(total=10, window=4, placement="end"), steps)) == {6}


def test_images_start_as_noise_of_norm_one():
    images, labels = (lambda data: (data.images, data.labels))(noise(1, 5, 10, (8, 8, 3)))
    np.testing.assert_array_equal(labels.argmax(axis=1), np.repeat(np.arange(10), 5))
    np.testing.assert_allclose(np.linalg.norm(images.reshape(50, -1), axis=1), 1, rtol=1e-6)
    assert abs(images.mean()) < 1e-3
    assert images.dtype == np.float32


ADAPTIVE = settings(placement="adaptive", total=200, window=40, window_change=10)


def at_stage(stage, **fields):
    return replace(first_placed(ADAPTIVE), stage=jnp.int32(stage), **fields)


def test_an_adaptive_window_lies_where_gradients_are_large_then_anywhere_then_where_they_are_small():
    norms = jnp.full(200, 10.0).at[30].set(40.0).at[150].set(-20.0)
    keys = jax.random.split(jax.random.key(0), 300)
    places = {
        stage: jax.vmap(lambda key, stage=stage: drawn(at_stage(stage), norms, key, ADAPTIVE))(keys)
        for stage in (EARLY, MIDDLE, LATE)
    }
    assert set(np.asarray(places[EARLY].prefix)) == {30}
    assert set(np.asarray(places[EARLY].size)) <= set(range(30, 51))
    assert np.asarray(places[EARLY].size).min() > 48  # the norm changes most there
    assert set(np.asarray(places[MIDDLE].size)) == {50}
    assert len(set(np.asarray(places[MIDDLE].prefix))) > 100
    assert set(np.asarray(places[LATE].size)) == {30}
    assert set(np.asarray(places[LATE].prefix)) == {150}
    for placed in places.values():
        assert np.all(placed.prefix + placed.size <= 200)
        assert np.all(placed.prefix >= 0)


def test_a_stage_ends_after_passes_without_progress():
    placed = first_placed(ADAPTIVE)
    stages = []
    for number, accuracy in enumerate([0.1, 0.2, 0.3] + [0.3] * 20):
        for last in (0, 1):
            placed = looked_at(placed, jnp.float32(accuracy), 2, jnp.int32(last), 40)
        stages.append((number, int(placed.stage)))
    # three passes make progress, six (0.15 * 40) end the early stage, five (0.125 * 40) the middle one
    assert [stage for _, stage in stages] == [EARLY] * 8 + [MIDDLE] * 5 + [LATE] * 10
    better = looked_at(at_stage(EARLY, stalled=jnp.int32(3)), jnp.float32(0.5), 1, jnp.int32(1), 40)
    assert int(better.stalled) == 0


@pytest.mark.usefixtures("in_float64")
def test_an_adaptive_step_looks_at_the_norms_first_and_goes_on_alike_in_both_forms():
    w = world(placement="adaptive", window_change=1)
    (host, metrics), (traced, same) = by_phases(w, w.given(0, first=1))
    np.testing.assert_allclose(host.data.images, traced.data.images, rtol=1e-9, atol=1e-14)
    assert (metrics["prefix"], metrics["window"]) == (same["prefix"], same["window"])
    again, later = by_phases(w, w.given(0, number=1))[1]
    assert (int(later["prefix"]), int(later["window"])) == (1, 3)  # as before anything was seen: no new pass
    assert int(again.placed.stage) == EARLY


@pytest.mark.usefixtures("in_float64")
def test_a_step_that_is_stopped_leaves_the_state_as_it_was():
    w = world()
    step, answers = w.step.phased(), iter([False] * 4 + [True] * 2)
    given = jax.tree.map(lambda leaf: np.asarray(leaf)[None], w.given(2))
    state, metrics = BlockRunner(step)(w.state, w.constants, given, lambda _: next(answers))
    assert not metrics
    np.testing.assert_array_equal(state.data.images, w.state.data.images)


def test_networks_are_tested_on_all_images_at_once_or_in_parts():
    w, model = world("instance"), build_model(Conv(width=4, depth=1, normalization="instance"), C, SHAPE)
    params = w.step.parts.fresh(jax.random.key(0))
    images, classes = w.constants.images
    expected = cross_entropy(logits(model, params, images), jax.nn.one_hot(classes, C))
    for chunk in (100, 3):
        loss, accuracy = real_loss(
            model, w.table, lambda *_: (images, classes), chunk, params, None, None, jax.random.key(0)
        )
        np.testing.assert_allclose(loss, expected, rtol=1e-5)
        assert 0 <= accuracy <= 1


def test_the_optimiser_of_the_images_is_adam():
    updates, _ = image_optimizer(1e-3).update(jnp.array([2.0]), image_optimizer(1e-3).init(jnp.array([0.0])))
    np.testing.assert_allclose(updates, [-1e-3], rtol=1e-4)

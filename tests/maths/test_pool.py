"""Who is used when, who is replaced, and in which order a step does things."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frepo.data.residency import LabelledImages, TrainingImages
from frepo.engine.randomness import key_data
from frepo.methods.base import DistilledData, StepConstants
from frepo.methods.frepo.state import DistillState
from frepo.methods.frepo.step import StepInput, learned_part, make_step, meta_optimizer
from frepo.methods.pool import BATCH_MOMENTUM, PoolTraining, pool_schedule
from frepo.networks.convnets import ConvNet
from frepo.networks.krr import krr_predict
from frepo.networks.losses import centered_one_hot, half_squared_error, label_margin
from frepo.networks.training import Trainer
from frepo.spec import Frepo

SHAPE = (8, 8, 2)
RESIDENT = TrainingImages(None, lambda x: x, lambda data, chosen: (data.images[chosen], data.labels[chosen]), 0)


@given(st.integers(0, 1000), st.integers(1, 12), st.integers(0, 30), st.integers(1, 400))
@settings(derandomize=True, deadline=None, max_examples=60)
def test_a_member_is_replaced_exactly_when_it_has_taken_more_steps_than_allowed(seed, size, most, steps):
    schedule = pool_schedule((seed,), size, most, steps)
    ages = {i: i * (most // size) for i in range(size)}
    for member, replaced in zip(schedule.member.tolist(), schedule.replace.tolist(), strict=True):
        assert replaced == (ages[member] > most)
        ages[member] = 0 if replaced else ages[member] + 1
    assert set(schedule.member.tolist()) <= set(range(size))


def test_a_single_member_is_replaced_every_so_many_steps():
    replace = pool_schedule((0,), 1, 3, 12).replace
    assert np.flatnonzero(replace).tolist() == [4, 9]


def test_members_are_drawn_uniformly_from_the_seed():
    schedule = pool_schedule((0, 1), 10, 100, 20_000)
    counts = np.bincount(schedule.member, minlength=10)
    assert np.all(np.abs(counts - 2000) < 5 * np.sqrt(2000))
    np.testing.assert_array_equal(schedule.member, pool_schedule((0, 1), 10, 100, 20_000).member)
    assert np.any(schedule.member != pool_schedule((1, 1), 10, 100, 20_000).member)


def test_a_longer_run_starts_like_a_shorter_one():
    short, long = pool_schedule((5,), 4, 7, 50), pool_schedule((5,), 4, 7, 500)
    np.testing.assert_array_equal(short.replace, long.replace[:50])


def small_world(normalization="batch", *, learn_labels=True, flip=True, optimizer="lamb"):
    settings_ = Frepo(
        method="frepo", ipc=1, steps=20, learning_rate=0.05, learn_labels=learn_labels, flip=flip, optimizer=optimizer
    )
    trainer = Trainer(ConvNet(normalization, "float32", BATCH_MOMENTUM, 3, 4, 2), optax.adam(3e-4), SHAPE)
    training = PoolTraining(trainer, 1000)
    random = np.random.default_rng(0)
    target = LabelledImages(
        jnp.asarray(random.normal(size=(40, *SHAPE)), jnp.float32), jnp.asarray(random.integers(0, 3, 40), jnp.int32)
    )
    data = DistilledData(
        jnp.asarray(random.normal(size=(3, *SHAPE)), jnp.float32), centered_one_hot(jnp.arange(3), 3) / np.sqrt(0.3)
    )
    opt_state = meta_optimizer(settings_).init(learned_part(data, settings_))
    pool = training.fresh_pool(jax.random.split(jax.random.key(7), 2))
    return settings_, training, StepConstants(target, key_data((1,))[0]), DistillState(data, opt_state, pool)


def given_at(step, member, replace=False):
    return StepInput(np.int32(step), np.int32(member), replace, np.arange(step, step + 16, dtype=np.int32))


def member_of(pool, index):
    return jax.tree.map(lambda leaf: leaf[index], pool)


def assert_trees_close(one, other, **tolerance):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **tolerance), one, other)


@pytest.mark.parametrize("learn_labels", [True, False])
def test_a_step_regresses_updates_the_data_and_then_trains_the_member_on_it(learn_labels):
    settings_, training, target, state = small_world(learn_labels=learn_labels)
    step = make_step(settings_, training, RESIDENT.take, 3, 1000)
    after, metrics = step(state, target, given_at(0, 1))

    member, trainer = member_of(state.pool, 1), training.trainer
    f_t = trainer.apply(member, target.images.images[:16])[0]
    y_t = centered_one_hot(target.images.labels[:16], 3)

    def loss(learned):
        labels = learned.get("labels", state.data.labels)
        both = jnp.concatenate([learned["images"], learned["images"][:, :, ::-1]])
        prediction = krr_predict(f_t, trainer.apply(member, both)[0], jnp.concatenate([labels, labels]), 1e-6)
        return half_squared_error(prediction, y_t) + (label_margin(labels, 3) if learn_labels else 0)

    learned = learned_part(state.data, settings_)
    value, gradient = jax.value_and_grad(loss)(learned)
    updates, _ = meta_optimizer(settings_).update(gradient, state.opt_state, learned)
    expected = optax.apply_updates(learned, updates)
    np.testing.assert_allclose(metrics["loss"], value, rtol=1e-5)
    np.testing.assert_allclose(after.data.images, expected["images"], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(after.data.labels, expected.get("labels", state.data.labels), rtol=1e-4, atol=1e-5)

    trained, _ = trainer.step(member, after.data.images, after.data.labels)
    assert_trees_close(member_of(after.pool, 1), trained, rtol=1e-4, atol=1e-6)
    assert_trees_close(member_of(after.pool, 0), member_of(state.pool, 0), rtol=0, atol=0)


def test_a_replaced_member_starts_anew_and_takes_no_step():
    settings_, training, target, state = small_world()
    key = jax.random.key(1)
    after, _ = make_step(settings_, training, RESIDENT.take, 3, 1000)(state, target, given_at(5, 0, True))
    fresh = training.trainer.fresh(jax.random.fold_in(key, 5))
    assert_trees_close(member_of(after.pool, 0), fresh, rtol=0, atol=0)
    assert np.any(np.asarray(after.data.images) != np.asarray(state.data.images))


def test_a_traced_choice_gives_what_a_static_one_gives():
    settings_, training, target, state = small_world()
    step = make_step(settings_, training, RESIDENT.take, 3, 1000)
    for replace in (False, True):
        static, _ = jax.jit(partial(step, given=given_at(2, 1, replace)))(state, target)
        traced, _ = jax.jit(step)(state, target, given_at(2, 1, jnp.asarray(replace)))
        assert_trees_close(static, traced, rtol=1e-4, atol=1e-5)


def test_lamb_by_hand():
    """The first step of LAMB (You et al. 2020): trust ratio |w| / |update| for each tensor, update of size one."""
    settings_, _, _, state = small_world()
    optimizer = meta_optimizer(settings_)
    learned = learned_part(state.data, settings_)
    random = np.random.default_rng(3)
    gradient = {name: jnp.asarray(random.normal(size=leaf.shape), jnp.float32) for name, leaf in learned.items()}
    updates, _ = optimizer.update(gradient, optimizer.init(learned), learned)
    for name, weight in learned.items():
        g, w = np.asarray(gradient[name], np.float64), np.asarray(weight, np.float64)
        adam = g / (np.abs(g) + 1e-6)  # bias-corrected first and second moment of one gradient
        trust = np.linalg.norm(w) / np.linalg.norm(adam)
        np.testing.assert_allclose(updates[name], -0.05 * trust * adam, rtol=1e-4, atol=1e-7)


def test_the_learning_rate_falls_along_a_cosine_to_a_tenth():
    settings_, _, _, _ = small_world(optimizer="adam")
    optimizer = meta_optimizer(settings_)
    weight = {"images": jnp.zeros(1)}
    state = optimizer.init(weight)
    sizes = []
    for _ in range(settings_.steps + 1):
        updates, state = optimizer.update({"images": jnp.ones(1)}, state, weight)
        sizes.append(-float(updates["images"][0]))
    expected = [0.05 * (0.1 + 0.9 * 0.5 * (1 + np.cos(np.pi * t / 20))) for t in range(21)]
    np.testing.assert_allclose(sizes, expected, rtol=1e-3)


def test_more_distilled_images_than_a_batch_are_drawn_without_repetition():
    _, training, _, state = small_world("identity")
    few = PoolTraining(training.trainer, 2)
    member = member_of(state.pool, 0)
    key = jax.random.key(3)
    chosen = np.asarray(jax.random.permutation(key, 3)[:2])
    expected, _ = training.trainer.step(member, state.data.images[chosen], state.data.labels[chosen])
    assert_trees_close(few.train(member, state.data, key), expected, rtol=1e-5, atol=1e-7)
    assert len(set(chosen.tolist())) == 2

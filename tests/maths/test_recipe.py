"""Optimisers, schedules, losses and labels of a recipe against what they say, by hand and in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.special import log_softmax, softmax

from frepo.networks import recipe as recipes
from frepo.spec import Recipe

LABELS = jnp.asarray([[0.6, -0.1, -0.5], [0.1, 0.3, -0.4]])
LOGITS = jnp.asarray([[1.0, 2.0, -1.0], [0.5, 0.0, 3.0]])


def rates(recipe: Recipe, steps: int) -> np.ndarray:
    """Return the learning rate of each step: what plain gradient descent does to a gradient of minus one."""
    plain = recipe.model_copy(update={"optimizer": "sgd", "momentum": 0.0})
    optimizer = recipes.optimizer(plain, steps)
    state, found = optimizer.init(jnp.zeros(())), []
    for _ in range(steps):
        update, state = optimizer.update(-jnp.ones(()), state, jnp.zeros(()))
        found.append(float(update))
    return np.array(found)


def test_the_cosine_rises_to_the_peak_and_falls_to_a_hundredth():
    found = rates(Recipe(learning_rate=0.5, warmup_steps=4, steps=20), 20)
    np.testing.assert_allclose(found[:5], 0.5 * np.arange(5) / 4, rtol=1e-6)
    share = np.arange(16) / 16
    np.testing.assert_allclose(found[4:], 0.5 * (0.01 + 0.99 * (1 + np.cos(np.pi * share)) / 2), rtol=1e-5)


@pytest.mark.parametrize(("warmup", "steps"), [(0, 1), (0, 7), (3, 50), (500, 13)])
def test_the_cosine_has_the_bits_of_its_two_parts(warmup, steps):
    recipe = Recipe(learning_rate=3e-4, warmup_steps=warmup)
    waiting = recipe.warmup_of(steps)
    rise = optax.linear_schedule(0.0, 3e-4, waiting)
    fall = optax.cosine_decay_schedule(3e-4, steps - waiting, alpha=0.01)
    each = [rise(step) if step < waiting else fall(step - waiting) for step in range(steps)]
    np.testing.assert_array_equal(rates(recipe, steps), each)


def test_the_step_falls_to_a_tenth_halfway_and_the_constant_stays():
    step = rates(Recipe(learning_rate=0.5, warmup_steps=2, steps=10, schedule="step"), 10)
    np.testing.assert_allclose(step, [0, 0.25, *[0.5] * 3, *[0.05] * 5], rtol=1e-6, atol=1e-9)
    constant = rates(Recipe(learning_rate=0.5, warmup_steps=0, steps=5, schedule="constant"), 5)
    np.testing.assert_allclose(constant, 0.5, rtol=1e-6)


def test_passes_over_little_data_are_warmed_up_in_their_first_fifth():
    found = rates(Recipe(learning_rate=1.0), 10)
    np.testing.assert_allclose(found[:3], [0, 0.5, 1.0], rtol=1e-6)


@pytest.mark.parametrize(
    ("recipe", "expected"),
    [
        (Recipe(), optax.adam),
        (Recipe(weight_decay=0.1), lambda rate: optax.adamw(rate, weight_decay=0.1)),
        (Recipe(optimizer="lamb"), optax.lamb),
        (Recipe(optimizer="sgd"), lambda rate: optax.sgd(rate, momentum=0.9)),
        (Recipe(optimizer="sgd", momentum=0.5), lambda rate: optax.sgd(rate, momentum=0.5)),
    ],
)
def test_an_optimizer_is_that_of_its_name(recipe, expected):
    constant = recipe.model_copy(update={"schedule": "constant", "warmup_steps": 0, "learning_rate": 0.01})
    ours, theirs = recipes.optimizer(constant, 100), expected(0.01)
    params = {"w": jnp.asarray([1.0, -2.0, 3.0])}
    one, other = (params, ours.init(params)), (params, theirs.init(params))
    for step in range(4):
        gradient = {"w": jnp.asarray([0.1, 0.2, -0.3]) * (step + 1)}
        one, other = (_updated(o, gradient, *pair) for o, pair in ((ours, one), (theirs, other)))
    np.testing.assert_allclose(one[0]["w"], other[0]["w"], rtol=1e-6)


def _updated(optimizer, gradient, params, state):
    updates, state = optimizer.update(gradient, state, params)
    return optax.apply_updates(params, updates), state


def test_decay_of_sgd_is_decoupled_from_its_momentum():
    recipe = Recipe(optimizer="sgd", weight_decay=0.1, learning_rate=0.5, schedule="constant", warmup_steps=0)
    optimizer, params = recipes.optimizer(recipe, 10), jnp.asarray(2.0)
    params, state = _updated(optimizer, jnp.asarray(0.0), params, optimizer.init(params))
    params, _ = _updated(optimizer, jnp.asarray(0.0), params, state)
    assert float(params) == pytest.approx(2.0 * 0.95**2)


def test_steps_follow_from_passes_the_recipe_or_the_number_of_images():
    assert [recipes.training_steps(Recipe(), n, None) for n in (10, 11, 100, 500, 1000, 1001)] == [
        *(1000, 2000, 2000, 5000, 10_000, 40_000)
    ]
    assert recipes.training_steps(Recipe(steps=2000), 10, None) == 2000
    assert recipes.training_steps(Recipe(steps=2000), 1437, 3) == 9  # 4,311 images in batches of 500
    assert recipes.training_steps(Recipe(), 100, 3) == 3  # batches of 100


def test_each_loss_is_its_formula():
    error = 0.5 * np.mean(np.sum((np.asarray(LOGITS) - np.asarray(LABELS)) ** 2, axis=1))
    soft = recipes.targets(Recipe(), LABELS)
    assert float(recipes.loss(Recipe())(LOGITS, soft)) == pytest.approx(error, rel=1e-6)
    hard = Recipe(loss="xent", labels="hard")
    expected = -np.mean(log_softmax(np.asarray(LOGITS), axis=1)[[0, 1], [0, 1]])
    assert float(recipes.loss(hard)(LOGITS, recipes.targets(hard, LABELS))) == pytest.approx(expected, rel=1e-6)
    warm = Recipe(loss="soft_xent", temperature=0.5)
    target = softmax(np.asarray(LABELS) / 0.5, axis=1)
    expected = -np.mean(np.sum(target * log_softmax(np.asarray(LOGITS), axis=1), axis=1))
    assert float(recipes.loss(warm)(LOGITS, recipes.targets(warm, LABELS))) == pytest.approx(expected, rel=1e-6)


def test_hard_labels_are_centred_for_the_squared_error():
    found = recipes.targets(Recipe(labels="hard"), LABELS)
    np.testing.assert_allclose(found, [[2 / 3, -1 / 3, -1 / 3], [-1 / 3, 2 / 3, -1 / 3]], rtol=1e-6)
    assert found.dtype == jnp.float32
    assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), recipes.targets(Recipe(), LABELS), LABELS))

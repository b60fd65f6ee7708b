"""RCIG: its inner problem, gradients, rates and average against dense float64 and exact solutions."""

from dataclasses import replace
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree
from scipy.linalg import cho_factor, cho_solve

from frepo.data.residency import TrainingImages
from frepo.engine.phases import PhasePrograms
from frepo.methods.adam import started, stepped
from frepo.methods.base import StepConstants
from frepo.methods.pool import PoolTraining, update_schedule
from frepo.methods.rcig import jacobian as jacobian_module
from frepo.methods.rcig import rates as rates_module
from frepo.methods.rcig.gradient import (
    EVERYTHING,
    Learned,
    Parts,
    clipped,
    implicit_gradient,
    outer_loss,
    together,
)
from frepo.methods.rcig.jacobian import rows
from frepo.methods.rcig.proxy import (
    Inner,
    fixed_of,
    hessian_gradient,
    hessian_product,
    inner_gradient,
    support_of,
    without_head,
)
from frepo.methods.rcig.rates import Rates, adapted, found_rate
from frepo.methods.rcig.step import RcigInput, RcigState, RcigStep, averaged, belief, drawn_parts
from frepo.networks.augmentation import both_sides
from frepo.networks.build import build_model
from frepo.networks.layers import relu_pool, softplus_pool
from frepo.networks.training import Network
from frepo.spec import Rcig
from frepo.spec.architecture import Conv

S, T, C, SHAPE = 4, 6, 3, (2, 2, 2)
RIDGE = 0.25
INNER = Inner(RIDGE, flip=False, chunk=100)
STEPS = 20


@pytest.fixture(autouse=True)
def _in_float64():
    with jax.enable_x64(True):
        yield


@pytest.fixture(params=["J written out", "products through the network"])
def _in_both_forms(request, monkeypatch):
    if request.param != "J written out":
        monkeypatch.setattr(jacobian_module, "MOST_BYTES", 0)


in_both_forms = pytest.mark.usefixtures("_in_both_forms")


def world(seed=0):
    """Return weights of a small smooth network, what is learned, and targets, all float64."""
    random = np.random.default_rng(seed)

    def normal(*shape):
        return jnp.asarray(random.normal(size=shape))

    params = {
        "Conv_0": {"kernel": normal(8, 5) / 2, "bias": normal(5) / 2},
        "Dense_0": {"kernel": normal(5, C) / 2, "bias": normal(C) / 2},
    }
    learned = Learned(normal(S, *SHAPE), normal(S, C) / 3, jnp.asarray(0.2))
    targets = normal(T, *SHAPE), jnp.eye(C)[random.integers(0, C, T)]
    return params, learned, targets


def apply(params, images):
    features = jnp.tanh(images.reshape(len(images), -1) @ params["Conv_0"]["kernel"] + params["Conv_0"]["bias"])
    return features, features @ params["Dense_0"]["kernel"] + params["Dense_0"]["bias"]


class Dense:
    """The inner problem of some images in matrices, the head's kernel left out."""

    def __init__(self, params, images, labels):
        flat, unravel = ravel_pytree(params)
        self.mask = np.asarray(ravel_pytree(without_head(jax.tree.map(jnp.ones_like, params)))[0])
        jacobian = jax.jacobian(lambda w: apply(unravel(w), images)[1])(flat)
        self.J = np.asarray(jacobian).reshape(-1, len(flat)) * self.mask
        features = np.asarray(apply(params, images)[0])
        self.features, self.labels = features, np.asarray(labels)
        self.A = np.kron(np.linalg.inv(features @ features.T + RIDGE * np.eye(len(images))), np.eye(C))
        self.c = RIDGE / (len(images) * C)
        self.unravel = unravel

    def loss(self, change):
        """L_S as it is stated: the squared error of the proxy, its ridges, over S times C."""
        rest = self.labels.ravel() - self.J @ change
        dual = self.A @ rest
        kernel = np.kron(self.features @ self.features.T, np.eye(C))
        error = 0.5 * np.sum((rest - kernel @ dual) ** 2)
        return (error + RIDGE / 2 * (dual @ kernel @ dual + change @ change)) / self.labels.size

    def gradient(self, change):
        return self.c * (change - self.J.T @ self.A @ (self.labels.ravel() - self.J @ change))

    def hessian(self):
        return self.c * (np.eye(self.J.shape[1]) + self.J.T @ self.A @ self.J)

    def solution(self):
        right = self.J.T @ self.A @ self.labels.ravel()
        return np.linalg.solve(np.eye(len(right)) + self.J.T @ self.A @ self.J, right)


def adam(gradient, start, rate, steps):
    x, first, second = np.array(start), 0.0, 0.0
    for step in range(1, steps + 1):
        g = gradient(x)
        first, second = 0.9 * first + 0.1 * g, 0.999 * second + 0.001 * g**2
        x = x - rate * (first / (1 - 0.9**step)) / (np.sqrt(second / (1 - 0.999**step)) + 1e-8)
    return x


def solved(gradient, like, rate, steps):
    """Return where a solve arrives, and what `gradient` gives beside the gradient on the way."""
    solve, seen = started(jax.tree.map(jnp.zeros_like, like)), []
    for number in range(steps):
        found, value = gradient(solve.x)
        solve = stepped(solve, found, number, rate)
        seen.append(value)
    return solve.x, seen


def support_at(params, images, labels, inner=INNER, part=None):
    """Return the support, with J where it is to be written out."""
    fixed = fixed_of(apply, params, images, labels.shape[-1], inner)
    written = [rows(apply, params, image) for image in images[: len(fixed.jacobian)]]
    fixed = replace(fixed, jacobian=jnp.stack(written)) if written else fixed
    return support_of(apply, params, images, labels, inner, fixed, part)


def data_gradient(params, learned, targets, inner, parts=EVERYTHING, steps=STEPS, rate=0.01):
    """Return loss, gradient, losses of the inner solve and residuals, all parts of a step one after the other."""
    images, labels = both_sides(learned.images, learned.labels, flip=inner.flip)
    support = support_at(params, images, labels, inner, parts.support)
    change, losses = solved(lambda x: inner_gradient(support, x), params, rate, steps)

    def outer(change, learned):
        return outer_loss(apply, params, change, learned, targets, inner, parts)

    (loss, _), (pull, direct) = jax.value_and_grad(outer, argnums=(0, 1), has_aux=True)(change, learned)
    pull = without_head(pull)
    v, residuals = solved(lambda x: hessian_gradient(support, x, pull), params, rate, steps)
    implicit = implicit_gradient(apply, params, change, v, learned, support, inner, parts)
    return loss, together(direct, implicit), losses, residuals


def support_and_dense(seed=0):
    params, learned, targets = world(seed)
    support = support_at(params, learned.images, learned.labels)
    return params, learned, targets, support, Dense(params, learned.images, learned.labels)


@in_both_forms
@pytest.mark.usefixtures("optimized")  # XLA once simplified the zeros that it starts from to something else
def test_the_inner_solve_is_adam_on_the_stated_loss():
    params, _, _, support, dense = support_and_dense()
    change, losses = solved(lambda x: inner_gradient(support, x), params, 1e-2, 20)
    found = np.asarray(ravel_pytree(change)[0])
    trail = [adam(dense.gradient, np.zeros(len(found)), 1e-2, steps) for steps in range(21)]
    np.testing.assert_allclose(found, trail[-1], atol=1e-10)
    np.testing.assert_allclose(losses, [dense.loss(x) for x in trail[:-1]], rtol=1e-9)
    assert np.all(found[dense.mask == 0] == 0)
    assert np.count_nonzero(dense.mask == 0) == 5 * C
    eps = 1e-6
    for index in (0, 7, len(found) - 1):  # the closed form of the gradient is that of the stated loss
        if dense.mask[index]:
            step = eps * np.eye(len(found))[index]
            slope = (dense.loss(found + step) - dense.loss(found - step)) / (2 * eps)
            assert slope == pytest.approx(dense.gradient(found)[index], rel=1e-5, abs=1e-9)


@in_both_forms
def test_the_product_with_the_hessian_and_its_solve():
    params, _, _, support, dense = support_and_dense()
    random = np.random.default_rng(3)
    flat = random.normal(size=len(dense.mask)) * dense.mask
    product = ravel_pytree(hessian_product(support, dense.unravel(jnp.asarray(flat))))[0]
    np.testing.assert_allclose(product, dense.hessian() @ flat, atol=1e-12)
    target = dense.unravel(jnp.asarray(flat))
    found, residuals = solved(lambda v: hessian_gradient(support, v, target), params, 5e-2, 15)
    matrix = dense.hessian()
    expected = adam(lambda v: matrix @ v - flat, np.zeros(len(flat)), 5e-2, 15)
    np.testing.assert_allclose(ravel_pytree(found)[0], expected, atol=1e-9)
    assert residuals[0] == 0
    before = adam(lambda v: matrix @ v - flat, np.zeros(len(flat)), 5e-2, 14)
    assert residuals[-1] == pytest.approx(before @ matrix @ before - 2 * before @ flat)


def test_direct_and_implicit_gradient_are_together_that_through_the_exact_solution():
    params, learned, targets, support, dense = support_and_dense()
    change = dense.unravel(jnp.asarray(dense.solution()))

    def outer(change, learned):
        return outer_loss(apply, params, change, learned, targets, INNER)[0]

    pull, direct = jax.grad(outer, argnums=(0, 1))(change, learned)
    pulled = np.asarray(ravel_pytree(without_head(pull))[0])
    exact = dense.unravel(jnp.asarray(np.linalg.solve(dense.hessian(), pulled)))
    implicit = implicit_gradient(apply, params, change, exact, learned, support, INNER)

    def whole(images, labels):
        best = Dense(params, images, labels)
        moved = best.unravel(jnp.asarray(best.solution()))
        return float(outer(moved, Learned(images, labels, learned.temperature)))

    random, eps = np.random.default_rng(5), 1e-5
    for _ in range(3):
        x, y = (jnp.asarray(random.normal(size=leaf.shape)) for leaf in (learned.images, learned.labels))
        ahead = whole(learned.images + eps * x, learned.labels + eps * y)
        behind = whole(learned.images - eps * x, learned.labels - eps * y)
        slope = jnp.vdot(direct.images + implicit.images, x) + jnp.vdot(direct.labels + implicit.labels, y)
        assert (ahead - behind) / (2 * eps) == pytest.approx(float(slope), rel=1e-5)
    assert implicit.temperature == 0
    assert float(jnp.linalg.norm(implicit.images)) > 0.01 * float(jnp.linalg.norm(direct.images))


def test_the_outer_loss_is_cross_entropy_of_the_proxy_less_the_margin():
    params, learned, targets, _, dense = support_and_dense()
    change = np.random.default_rng(1).normal(size=len(dense.mask)) * dense.mask * 0.1
    loss, accuracy = outer_loss(apply, params, dense.unravel(jnp.asarray(change)), learned, targets, INNER)
    on_targets = Dense(params, *targets)
    rest = dense.labels - (dense.J @ change).reshape(S, C)
    factor = cho_factor(dense.features @ dense.features.T + RIDGE * np.eye(S))
    prediction = (on_targets.J @ change).reshape(T, C) + on_targets.features @ dense.features.T @ cho_solve(
        factor, rest
    )
    scaled = prediction * np.exp(0.2)
    log_shares = scaled - np.log(np.exp(scaled).sum(axis=1, keepdims=True))
    top = np.sort(dense.labels, axis=1)
    margin = np.minimum(top[:, -1] - top[:, -2], 1 / (2 * C)).mean()
    assert loss == pytest.approx(-np.sum(np.asarray(targets[1]) * log_shares, axis=1).mean() - margin)
    assert accuracy == pytest.approx(np.mean(prediction.argmax(axis=1) == np.asarray(targets[1]).argmax(axis=1)))


@in_both_forms
def test_mirror_images_are_part_of_the_support_and_move_their_images():
    params, learned, targets = world(2)
    flipped = INNER._replace(flip=True)
    images, labels = both_sides(learned.images, learned.labels, flip=True)
    np.testing.assert_array_equal(images[S:], learned.images[:, :, ::-1])
    np.testing.assert_array_equal(labels[S:], learned.labels)
    loss, found, *_ = data_gradient(params, learned, targets, flipped)
    apart, alone, *_ = data_gradient(params, Learned(images, labels, learned.temperature), targets, INNER)
    assert loss == pytest.approx(float(apart))  # the ridge is given
    assert found.labels.shape == learned.labels.shape
    assert alone.labels.shape == labels.shape


def test_the_implicit_part_is_no_longer_than_the_direct_one():
    long, short = jnp.asarray([3.0, 4.0]), jnp.asarray([0.3, 0.4])
    np.testing.assert_allclose(clipped(long, short), short)
    np.testing.assert_allclose(clipped(short, long), short)
    np.testing.assert_array_equal(clipped(jnp.zeros(2), short), 0)
    for bad in (jnp.nan, jnp.inf):  # it has to reach the state, where it is seen
        assert np.isnan(clipped(jnp.asarray([bad, 1.0]), short)).any()


def test_belief_takes_steps_as_long_as_in_earlier_releases():
    gradients = np.random.default_rng(0).normal(size=(7, 4))
    optimizer, x = belief(), jnp.zeros(4)
    state = optimizer.init(x)
    first, second, expected = np.zeros(4), np.zeros(4), np.zeros(4)
    for step, g in enumerate(gradients, start=1):
        updates, state = optimizer.update(jnp.asarray(g), state)
        x = optax.apply_updates(x, 0.003 * updates)
        error = g - first  # against the mean before
        first = 0.9 * first + 0.1 * g
        second = 0.999 * second + 0.001 * error**2 + 1e-16
        scale = np.sqrt(second / (1 - 0.999**step)) + 1e-16
        expected = expected - 0.003 * (first / (1 - 0.9**step)) / scale
    np.testing.assert_allclose(x, expected, rtol=1e-6)


def test_the_average_is_corrected_for_its_start():
    values = np.random.default_rng(0).normal(size=6)
    state = RcigState(None, None, jnp.asarray(0.0), None, None)
    for steps, value in enumerate(values, start=1):
        state = state.replace(average=0.9 * state.average + 0.1 * value)
        weights = 0.9 ** np.arange(steps)[::-1]
        assert float(averaged(state, 0.9, steps)) == pytest.approx(np.average(values[:steps], weights=weights))


@pytest.mark.parametrize("limit", [1e-6, 1e-5, 1.1e-5, 3e-5, 4e-4, 1.0, 1e3, np.inf])
def test_the_first_rate_is_a_little_below_the_first_that_fails(limit):
    asked = []

    def losses(rate):
        asked.append(rate)
        yield 3.0
        for loss in (2.0, 1.0) if rate < limit else (np.nan, 0.0):
            asked.append(rate)
            yield loss

    rate = np.float32(1e-5)  # as the authors search: raised until it fails, and once more
    for _ in range(120):
        fails = rate >= limit
        rate = np.float32(rate * 1.2)
        if fails:
            break
    assert found_rate(losses, 1e-5) == np.float32(rate * 0.7)
    assert len(set(asked)) <= 13
    assert all(asked.count(rate) == 2 for rate in asked if rate >= limit), "it stops where the losses stop falling"


@pytest.mark.parametrize(
    ("fell", "rose", "factor"),
    [(35, 0, 1.05), (34, 0, 1.0), (50, 0, 1.05), (35, 15, 0.9), (0, 15, 0.9), (0, 14, 1.0)],
)
def test_the_rate_follows_what_was_seen_in_fifty_steps(fell, rose, factor):
    rates = Rates(jnp.asarray(2.0), jnp.asarray(3.0), jnp.int32(0), jnp.int32(0))
    outcomes = [[2.0, 1.0]] * fell + [[1.0, 2.0]] * rose
    neither = [[1.0, 0.5, 0.6]] * (50 - len(outcomes))
    for step, losses in enumerate(outcomes + neither):
        assert rates.inner == 2.0
        rates = adapted(rates, jnp.asarray(losses), jnp.int32(step))
    assert rates.inner == pytest.approx(2.0 * factor)
    assert (rates.hessian, rates.fell, rates.rose) == (3.0, 0, 0)
    assert rates_module.WINDOW == 50


def test_a_network_is_trained_several_times_and_replaced_once_it_is_old():
    schedule = update_schedule((0,), 4, 30, 7, 400)
    assert set(schedule.updates) == set(range(1, 8))
    ages = [0, 7, 14, 21]
    for member, updates, replaced in zip(schedule.member, schedule.updates, schedule.replace, strict=True):
        ages[member] += updates
        assert replaced == (ages[member] >= 30)
        ages[member] = 0 if replaced else ages[member]
    assert 0.05 < schedule.replace.mean() < 0.3
    again = update_schedule((0,), 4, 30, 7, 400)
    np.testing.assert_array_equal(schedule.updates, again.updates)


@pytest.mark.parametrize("kind", ["average", "max", "none"])
def test_softplus_is_nearly_relu_and_smooth(kind):
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 5, 4, 3)), jnp.float32)
    found = softplus_pool(kind, x, 60.0)
    np.testing.assert_allclose(found, relu_pool(kind, x), atol=0.7 / 60)
    np.testing.assert_allclose(softplus_pool(kind, x, 1e4), relu_pool(kind, x), atol=1e-4)
    assert float(jnp.min(softplus_pool("none", jnp.full((1, 2, 2, 1), -0.01), 60.0))) > 0


def test_only_the_network_of_the_paper_has_it():
    smooth = build_model(Conv(width=4, depth=1), C, (4, 4, 1), softplus=60.0)
    variables = smooth.init(jax.random.key(0), jnp.zeros((1, 4, 4, 1), jnp.float32), train=False)
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 4, 4, 1)), jnp.float32)
    relu = build_model(Conv(width=4, depth=1), C, (4, 4, 1))
    (a, _), (b, _) = (model.apply(variables, x, train=False) for model in (smooth, relu))
    assert not np.array_equal(a, b)
    np.testing.assert_allclose(a, b, atol=0.02)


def test_gradients_through_all_images_in_another_order_are_the_same():
    params, learned, targets = world()
    everything = Parts(jnp.array([2, 0, 3, 1]), jnp.arange(T)[::-1])
    whole, permuted = (data_gradient(params, learned, targets, INNER, parts) for parts in (Parts(), everything))
    for one, other in zip(jax.tree.leaves(whole), jax.tree.leaves(permuted), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-14)


@in_both_forms
def test_gradients_flow_through_a_part_but_all_images_count():
    params, learned, targets, support, dense = support_and_dense()
    part = jnp.array([3, 1])
    partly = support_at(params, learned.images, learned.labels, part=part)
    rows = np.repeat(np.isin(np.arange(S), part), C)
    v = np.random.default_rng(1).normal(size=len(dense.mask)) * dense.mask
    expected = dense.c * (v + (dense.J * rows[:, None]).T @ dense.A @ dense.J @ v)
    found = ravel_pytree(hessian_product(partly, dense.unravel(jnp.asarray(v))))[0]
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-14)
    change = dense.unravel(jnp.asarray(v) / 10)

    def outer(images, parts):
        moved = Learned(images, learned.labels, learned.temperature)
        return outer_loss(apply, params, change, moved, targets, INNER, parts)[0]

    (loss, whole), (same, some) = (
        jax.value_and_grad(outer)(learned.images, parts) for parts in (Parts(), Parts(part, jnp.array([0])))
    )
    np.testing.assert_allclose(loss, same, rtol=1e-12)
    np.testing.assert_array_equal(some[jnp.array([0, 2])], 0)
    np.testing.assert_allclose(some[part], whole[part], rtol=1e-9)
    implicit = implicit_gradient(apply, params, change, change, learned, support, INNER, Parts(part))
    np.testing.assert_array_equal(implicit.images[jnp.array([0, 2])], 0)
    assert np.all(np.asarray(implicit.images)[part] != 0)


def test_the_images_that_gradients_flow_through_are_drawn_anew_and_at_most_once_each():
    settings = Rcig(method="rcig", ipc=2, batch_size=50, flip=True, support_gradients=3, target_gradients=60)
    keys = jax.random.split(jax.random.key(0), 2)
    first, second = (drawn_parts(settings, 4, key) for key in keys)
    assert len(set(np.asarray(first.support))) == 3
    assert (
        max(np.asarray(jax.vmap(lambda k: drawn_parts(settings, 4, k).support)(jax.random.split(keys[0], 50))).ravel())
        == 7
    )
    assert not np.array_equal(first.support, second.support)
    assert first.targets is None  # the batch is smaller


@pytest.mark.parametrize("parts", [Parts(), Parts(jnp.array([3, 1, 0]), jnp.array([0, 2]))])
def test_images_go_through_the_network_a_few_at_a_time_with_the_same_gradient(parts):
    params, learned, targets = world()
    whole, cut = (data_gradient(params, learned, targets, INNER._replace(chunk=chunk), parts) for chunk in (S, 2))
    for one, other in zip(jax.tree.leaves(whole), jax.tree.leaves(cut), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-8, atol=1e-13)


def small_step(params, learned, targets, **fields):
    """Return a step, its state, constants and input, with the small network in a pool of two."""
    given = {"method": "rcig", "ipc": 1, "batch_size": T, "inner_steps": 3, "hessian_steps": 3, "flip": True, **fields}
    settings = Rcig.model_validate(given)
    trainer = SimpleNamespace(
        apply=lambda network, images: apply(network.params, images),
        step=lambda network, *_: (
            network.replace(params=jax.tree.map(lambda leaf: leaf * 1.5, network.params)),
            None,
        ),
        fresh=lambda _: Network(jax.tree.map(jnp.zeros_like, params), {}, ()),
    )
    resident = TrainingImages(None, lambda batch: batch, lambda *_: (targets[0], targets[1].argmax(-1)), 0)
    inner = INNER._replace(flip=True)
    step = RcigStep(settings, PoolTraining(trainer, 100), resident.take, inner)
    pool = jax.tree.map(lambda leaf: jnp.stack([0 * leaf, leaf]), Network(params, {}, ()))
    rates = Rates(jnp.float64(0.01), jnp.float64(0.01), jnp.int32(0), jnp.int32(0))
    state = RcigState(learned, belief().init(learned), jax.tree.map(jnp.zeros_like, learned), pool, rates)
    constants = StepConstants(None, jax.random.key_data(jax.random.key(0)))
    return step, state, constants, lambda **given: RcigInput(np.int32(0), np.int32(1), np.int32(2), **given)


@in_both_forms
@pytest.mark.parametrize("replaced", [False, True])
def test_a_step_solves_updates_averages_and_trains_the_network_as_often_as_it_should(replaced):
    params, learned, targets = world()
    step, state, constants, given = small_step(params, learned, targets)
    loss, gradient, losses, residuals = data_gradient(params, learned, targets, step.inner, steps=3)
    updates, _ = belief().update(gradient, state.opt_state)
    lengths = Learned(3e-3, 3e-3, 0.03)
    expected = jax.tree.map(lambda x, u, rate: x + rate * u, learned, updates, lengths)
    row = given(replace=np.bool_(replaced), batch=np.int32(0))
    course, phased = step.begin(state, constants, row), step.phased()
    for phase in phased.phases[:4]:
        for number in range(phase.times(course, row)):
            course = phase.body(course, constants, row, number)
    np.testing.assert_allclose(course.losses, losses, rtol=1e-9)
    np.testing.assert_allclose(course.residuals, residuals, rtol=1e-6, atol=1e-18)
    copy = jax.tree.map(jnp.copy, state)  # which is donated
    for new, metrics in (
        jax.jit(phased)(state, constants, row),
        PhasePrograms(phased)(copy, constants, row, lambda: False),
    ):
        np.testing.assert_allclose(metrics["loss"], loss, rtol=1e-9)
        for one, other in zip(jax.tree.leaves(new.learned), jax.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-7, atol=1e-9)
        np.testing.assert_allclose(new.average.images, 0.01 * expected.images, rtol=1e-7, atol=1e-9)
        kernel = new.pool.params["Conv_0"]["kernel"]
        np.testing.assert_allclose(kernel[1], 0 if replaced else 1.5**2 * params["Conv_0"]["kernel"])
        np.testing.assert_array_equal(kernel[0], 0)
        assert new.rates.inner == 0.01

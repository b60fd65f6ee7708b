"""Differentiable siamese augmentation: its laws, against SciPy, and where its parameters lie."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from frepo.networks.siamese import OPERATIONS, apply, draw, for_each, siamese, unchanged

ALL = tuple(OPERATIONS)
SHAPE = (12, 8, 3)
apply_compiled = jax.jit(apply)
pull_back = jax.jit(lambda change, x, y: jax.vjp(lambda x: apply(change, x), x)[1](y))
siamese_compiled = jax.jit(siamese, static_argnums=0)


def images(n=4, shape=SHAPE, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=(n, *shape)), jnp.float32)


def drawn(name, count=400, size=(32, 32)):
    """Return changes by one operation, each leaf stacked, float64 [count, ...]."""
    many = jax.jit(jax.vmap(lambda key: draw((name,), key, *size)))(jax.random.split(jax.random.key(1), count))
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), many)


def first(name, wanted):
    """Return the first change by one operation, for images of `SHAPE`, that is as wanted."""
    keys = jax.random.split(jax.random.key(2), 20)
    return next(change for change in (draw((name,), key, *SHAPE[:2]) for key in keys) if wanted(change))


def reference(change, x):
    """Return what `apply` does to images float64 [n, h, w, c], one by one and by SciPy."""
    matrix, offset, brightness, saturation, contrast, hole = (np.asarray(leaf, np.float64) for leaf in change)
    results = []
    for image in x:
        height, width, channels = image.shape
        middle = np.array([(height - 1) / 2, (width - 1) / 2])
        places = np.array([[matrix @ ([i, j] - middle) + offset + middle for j in range(width)] for i in range(height)])
        places = np.moveaxis(places, -1, 0)
        layers = [map_coordinates(image[..., c], places, order=1, mode="grid-constant") for c in range(channels)]
        image = np.stack(layers, axis=-1) + brightness
        gray = image.mean(axis=-1, keepdims=True)
        image = gray + saturation * (image - gray)
        image = image.mean() + contrast * (image - image.mean())
        (top, left), (bottom, right) = hole.astype(int)
        image[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)] = 0
        results.append(image)
    return np.stack(results)


@pytest.mark.parametrize("name", ALL)
def test_an_operation_is_what_scipy_makes_of_its_parameters(name):
    x = images()
    for seed in range(3):
        change = draw((name,), jax.random.key(seed), *SHAPE[:2])
        np.testing.assert_allclose(apply_compiled(change, x), reference(change, np.asarray(x, np.float64)), atol=2e-5)


def test_no_strength_is_the_identity_exactly():
    x = images()
    np.testing.assert_array_equal(apply_compiled(unchanged(), x), x)
    assert siamese((), jax.random.key(0), x) is x


def test_a_flip_is_an_involution_and_exact():
    x, mirror = images(), first("flip", lambda change: change.matrix[1, 1] == -1)
    once = apply_compiled(mirror, x)
    np.testing.assert_array_equal(once, x[:, :, ::-1])
    np.testing.assert_array_equal(apply_compiled(mirror, once), x)


@pytest.mark.parametrize("seed", range(6))
def test_one_key_changes_equal_images_alike_wherever_they_stand_and_however_many_there_are(seed):
    x, key = images(), jax.random.key(seed)
    moved = jnp.concatenate([images(3, seed=9), x[::-1]])
    one, other = siamese_compiled(ALL, key, x), siamese_compiled(ALL, key, moved)
    np.testing.assert_allclose(other[3:][::-1], one, atol=1e-6)
    equal = siamese_compiled(ALL, key, jnp.tile(x[:1], (4, 1, 1, 1)))
    np.testing.assert_allclose(equal, jnp.broadcast_to(one[:1], x.shape), atol=1e-6)


def test_batches_side_by_side_are_changed_as_each_alone():
    keys, x = jax.random.split(jax.random.key(3), 6), jnp.stack([images(2, seed=seed) for seed in range(6)])
    together = jax.jit(jax.vmap(lambda key, x: siamese(ALL, key, x)))(keys, x)
    for key, batch, found in zip(keys, x, together, strict=True):
        np.testing.assert_allclose(found, siamese_compiled(ALL, key, batch), atol=1e-5)


def test_gradients_flow_in_both_modes_to_second_order():
    """Through a change that is three operations at once; differences of a quadratic function are exact."""
    rotated, colored, cut = (first(name, lambda change: True) for name in ("rotate", "color", "cutout"))  # noqa: ARG005
    change = colored._replace(matrix=rotated.matrix, offset=jnp.array([0.5, -1.25]), hole=cut.hole)
    x, v = images(2), images(2, seed=1)

    @jax.jit
    def derivatives(x):
        def square(x):
            return jnp.sum(apply(change, x) ** 2)

        def slope(x):
            return jax.jvp(square, (x,), (v,))[1]

        along = jax.jvp(jax.grad(square), (x,), (v,))[1]
        return square(x), slope(x), jax.grad(square)(x), along, jax.grad(slope)(x)

    (lower, *_), (_, slope, gradient, *second), (upper, _, ahead, *_) = (derivatives(x + t * v) for t in (-1, 0, 1))
    np.testing.assert_allclose(slope, (upper - lower) / 2, rtol=1e-4)
    np.testing.assert_allclose(jnp.sum(gradient * v), slope, rtol=1e-4)
    for found in second:
        np.testing.assert_allclose(found, ahead - gradient, atol=1e-4)


@pytest.mark.parametrize("name", ALL)
def test_the_gradient_of_an_operation_is_its_transpose(name):
    """<A x, y> = <x, A' y> for the linear part A of a change, by SciPy on the left, by JAX on the right."""
    change = first(name, lambda change: name != "flip" or change.matrix[1, 1] == -1)
    x, y = (np.asarray(images(2, seed=seed), np.float64) for seed in (5, 6))
    linear = reference(change, x) - reference(change, np.zeros_like(x))
    (transposed,) = pull_back(change, jnp.asarray(x, jnp.float32), jnp.asarray(y, jnp.float32))
    np.testing.assert_allclose(np.sum(linear * y), np.sum(x * np.asarray(transposed, np.float64)), rtol=1e-4)


def test_one_operation_is_drawn_each_about_equally_often():
    names = ("flip", "cutout", "color", "crop")
    many = jax.jit(jax.vmap(lambda key: draw(names, key, 32, 32)))(jax.random.split(jax.random.key(4), 400))
    cut, colored = np.asarray(many.hole).any(axis=(1, 2)), np.asarray(many.saturation) != 1
    moved = np.asarray(many.offset).any(axis=1)  # a crop by nothing is one of 81
    mirrored = np.asarray(many.matrix)[:, 1, 1] == -1
    assert np.all(np.stack([cut, colored, moved, mirrored]).sum(axis=0) <= 1)
    for found, wanted in [(cut, 100), (colored, 100), (moved, 99), (mirrored, 50)]:
        assert abs(found.sum() - wanted) < 40


def test_color_lies_within_what_was_published():
    many = drawn("color")
    for found, low, high in [
        (many.brightness, -0.5, 0.5),
        (many.saturation, 0, 2),
        (many.contrast, 0.5, 1.5),
    ]:
        margin = (high - low) / 50
        assert low <= found.min() < low + margin
        assert high - margin < found.max() <= high
    assert abs(np.corrcoef(many.brightness, many.contrast)[0, 1]) < 0.2


def test_a_crop_moves_by_whole_pixels_up_to_an_eighth_of_each_side():
    offset = drawn("crop", size=(32, 16)).offset
    for axis, most in enumerate([4, 2]):
        assert np.unique(offset[:, axis]).tolist() == list(range(-most, most + 1))


def test_cutout_blanks_half_of_each_side_around_any_pixel():
    hole = drawn("cutout", size=(32, 16)).hole
    np.testing.assert_array_equal(hole[:, 1] - hole[:, 0], np.broadcast_to([16, 8], (400, 2)))
    assert (hole[:, 0].min(axis=0).tolist(), hole[:, 0].max(axis=0).tolist()) == ([-8, -4], [24, 12])
    odd = drawn("cutout", size=(5, 5)).hole  # sides of 3 around pixels 0 to 4
    assert (odd[:, 0].min(), odd[:, 1].max()) == (-1, 6)


def test_half_of_the_flips_mirror():
    matrix = drawn("flip").matrix
    assert 150 < (matrix[:, 1, 1] == -1).sum() < 250
    assert np.all(matrix[:, 0, 0] == 1)


def test_each_side_is_scaled_by_up_to_a_fifth():
    matrix = drawn("scale").matrix
    rows, columns = matrix[:, 0, 0], matrix[:, 1, 1]
    for factor in (rows, columns):
        assert 1 / 1.2 - 1e-6 <= factor.min() < 0.85
        assert 1.19 < factor.max() <= 1.2 + 1e-6
    assert abs(np.corrcoef(rows, columns)[0, 1]) < 0.2
    assert not np.any(matrix[:, [0, 1], [1, 0]])


def test_a_rotation_turns_by_up_to_15_degrees():
    matrix = drawn("rotate").matrix
    np.testing.assert_allclose(matrix @ matrix.transpose(0, 2, 1), np.broadcast_to(np.eye(2), (400, 2, 2)), atol=1e-6)
    degrees = np.degrees(np.arctan2(matrix[:, 1, 0], matrix[:, 0, 0]))
    assert -15 - 1e-4 <= degrees.min() < -14.5
    assert 14.5 < degrees.max() <= 15 + 1e-4


@pytest.mark.parametrize("name", ALL)
def test_each_image_has_a_change_of_its_own_where_networks_are_tested(name):
    x, key = images(6), jax.random.key(4)
    shares = jax.random.uniform(key, (6, 3))
    found = np.asarray(jax.jit(for_each, static_argnums=0)(name, key, x))
    for image, own, share in zip(x, found, shares, strict=True):
        change = OPERATIONS[name](share, *SHAPE[:2])
        np.testing.assert_allclose(own, reference(change, np.asarray(image[None], np.float64))[0], atol=2e-5)
    assert len({own.tobytes() for own in found - np.asarray(x)}) > 1

"""The operations of augmentation against NumPy and SciPy with the parameters that the key gives, and their laws."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from frepo.networks import augmentation as module
from frepo.networks.augmentation import augment

WARPS = ["crop", "rotate", "translate"]
OUTSIDE = {"order": 1, "mode": "grid-constant", "cval": 0.0}
OPERATIONS = {name: jax.jit(operation) for name, operation in module.OPERATIONS["frepo"].items()}
LINEAR = [name for name in OPERATIONS if name != "color"]


def images(n=20, shape=(8, 8, 3), seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=(n, *shape)), jnp.float32)


def uniform(key, shape, low, high):
    return np.asarray(jax.random.uniform(key, shape, minval=low, maxval=high), np.float64)


def flipped(key, image_stack):
    mirrored = np.asarray(jax.random.bernoulli(key, 0.5, (len(image_stack), 1, 1, 1))).ravel()
    return [image[:, ::-1] if mirror else image for image, mirror in zip(image_stack, mirrored, strict=True)]


def colored(key, image_stack):
    results = []
    parameters = uniform(key, (3, len(image_stack), 1, 1, 1), -0.25, 0.25).reshape(3, -1)
    for image, brightness, contrast, saturation in zip(image_stack, *parameters, strict=True):
        brighter = image + brightness
        stretched = (1 + contrast) * brighter - contrast * brighter.mean()
        gray = stretched.mean(axis=2, keepdims=True)
        results.append((1 + saturation) * stretched - saturation * gray)
    return results


def cropped(key, image_stack):
    n, side = len(image_stack), np.array(image_stack.shape[1:3])
    scale_key, center_key = jax.random.split(key)
    scales = np.exp(uniform(scale_key, (n,), np.log(0.8), np.log(1.25)))
    fixed_points = uniform(center_key, (n, 2), 0, 1) * side - 0.5  # pixels that stay where they are
    return [
        by_channel(ndimage.affine_transform, image, np.full(2, 1 / scale), offset=fixed * (1 - 1 / scale))
        for image, scale, fixed in zip(image_stack, scales, fixed_points, strict=True)
    ]


def rotated(key, image_stack):
    angles = uniform(key, (len(image_stack),), -15, 15)
    return [
        by_channel(ndimage.rotate, image, -angle, reshape=False)
        for image, angle in zip(image_stack, angles, strict=True)
    ]


def translated(key, image_stack):
    shares = uniform(key, (len(image_stack), 2), -1 / 8, 1 / 8)
    return [
        by_channel(ndimage.shift, image, -share * image.shape[:2])
        for image, share in zip(image_stack, shares, strict=True)
    ]


def cut_out(key, image_stack):
    n, height, width, _ = image_stack.shape
    centers = uniform(key, (n, 2), 0, 1) * (height, width)
    results = image_stack.copy()
    for i, row, column in itertools.product(range(n), range(height), range(width)):
        near = abs(row + 0.5 - centers[i, 0]) < height / 8, abs(column + 0.5 - centers[i, 1]) < width / 8
        if all(near):
            results[i, row, column] = 0
    return list(results)


def by_channel(function, image, *arguments, **options):
    planes = [function(plane, *arguments, **options, **OUTSIDE) for plane in np.moveaxis(image, -1, 0)]
    return np.stack(planes, axis=-1)


REFERENCES = {
    "flip": flipped,
    "color": colored,
    "crop": cropped,
    "rotate": rotated,
    "translate": translated,
    "cutout": cut_out,
}


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("shape", [(8, 8, 3), (9, 9, 1)])
def test_an_operation_does_what_numpy_and_scipy_do_with_the_parameters_of_its_key(name, shape):
    x = images(shape=shape) - 0.5
    key = jax.random.key(7)
    expected = np.stack(REFERENCES[name](key, np.asarray(x, np.float64)))
    np.testing.assert_allclose(OPERATIONS[name](key, x), expected, atol=2e-5)


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("shape", [(8, 8, 3), (9, 9, 1)])
@given(st.integers(0, 2**32 - 1), st.floats(1e-6, 1e6))
@settings(derandomize=True, deadline=None, max_examples=10)
def test_an_augmentation_keeps_shape_and_type_and_finite_values_and_follows_its_key(name, shape, seed, scale):
    x = scale * images(shape=shape, seed=seed)
    key = jax.random.key(seed)
    one, again = OPERATIONS[name](key, x), OPERATIONS[name](key, x)
    assert one.shape == x.shape
    assert one.dtype == jnp.float32
    assert np.all(np.isfinite(one))
    np.testing.assert_array_equal(one, again)
    assert np.any(np.asarray(one) != np.asarray(x))


@pytest.mark.parametrize("name", OPERATIONS)
def test_images_need_not_be_square(name):
    x = jax.ShapeDtypeStruct((5, 9, 6, 1), jnp.float32)
    assert jax.eval_shape(OPERATIONS[name], jax.random.key(0), x) == x


@pytest.mark.parametrize("name", OPERATIONS)
def test_each_image_gets_parameters_of_its_own(name):
    same = jnp.broadcast_to(images(1), (20, 8, 8, 3))
    found = np.asarray(OPERATIONS[name](jax.random.key(0), same)).reshape(20, -1)
    assert len(np.unique(found, axis=0)) >= {"flip": 2, "cutout": 10}.get(name, 20)


@pytest.mark.parametrize("name", LINEAR)
@given(st.integers(0, 2**32 - 1), st.floats(-10, 10), st.floats(-10, 10))
@settings(derandomize=True, deadline=None, max_examples=10)
def test_what_moves_pixels_is_linear_so_that_the_mean_colour_stays_zero(name, seed, a, b):
    operation, key = OPERATIONS[name], jax.random.key(seed)
    x, y = images(seed=seed), images(seed=seed + 1)
    np.testing.assert_allclose(operation(key, a * x + b * y), a * operation(key, x) + b * operation(key, y), atol=1e-4)


@pytest.mark.parametrize("name", LINEAR)
def test_what_moves_pixels_treats_all_channels_alike(name):
    x, key = images(), jax.random.key(8)
    together = OPERATIONS[name](key, x)
    for channel in range(3):
        one = slice(channel, channel + 1)
        np.testing.assert_allclose(OPERATIONS[name](key, x[..., one]), together[..., one], atol=1e-6)


@pytest.mark.parametrize("name", WARPS)
def test_a_warp_weighs_pixels_with_shares_of_one(name):
    weights = np.asarray(OPERATIONS[name](jax.random.key(9), jnp.ones((100, 16, 16, 1))))
    assert weights.min() >= 0
    assert weights.max() <= 1 + 1e-5
    np.testing.assert_allclose(weights[:, 6:10, 6:10], 1, atol=1e-5)  # nothing comes in from outside that far
    assert np.any(weights < 0.5)


def test_flip_mirrors_about_half_of_the_images():
    x = images(400, (2, 3, 1))
    found = np.asarray(OPERATIONS["flip"](jax.random.key(1), x))
    mirrored = np.all(found == np.asarray(x)[:, :, ::-1], axis=(1, 2, 3))
    same = np.all(found == np.asarray(x), axis=(1, 2, 3))
    assert np.all(mirrored ^ same)
    assert 150 < mirrored.sum() < 250


def test_flipping_twice_changes_nothing():
    x, key = images(), jax.random.key(2)
    np.testing.assert_array_equal(OPERATIONS["flip"](key, OPERATIONS["flip"](key, x)), x)


def test_colour_jitter_keeps_a_grey_image_grey_and_an_even_one_even():
    gray = jnp.broadcast_to(images(20, (8, 8, 1)), (20, 8, 8, 3))
    jittered = np.asarray(OPERATIONS["color"](jax.random.key(3), gray))
    np.testing.assert_allclose(jittered, jittered[..., :1] * np.ones(3), atol=1e-5)
    even = np.asarray(OPERATIONS["color"](jax.random.key(3), jnp.full((300, 4, 4, 3), 5.0)))
    np.testing.assert_allclose(even, even[:, :1, :1, :1] * np.ones((4, 4, 3)), atol=1e-5)
    shifts = even[:, 0, 0, 0] - 5
    assert np.abs(shifts).max() <= 0.25 + 1e-5
    assert np.abs(shifts).max() > 0.24


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
    found = np.asarray(OPERATIONS["crop"](jax.random.key(4), ramp))[:, 12:20, 16, 0]
    slopes = np.diff(found, axis=1)  # pixels of the original for each pixel of the result: 1 / scale
    np.testing.assert_allclose(slopes, slopes[:, :1] * np.ones(7), atol=1e-3)
    assert 1 / 1.25 - 1e-3 <= slopes.min() < 0.85
    assert 1.2 < slopes.max() <= 1 / 0.8 + 1e-3


def test_a_rotation_keeps_the_middle_and_turns_by_at_most_15_degrees():
    side = np.arange(17.0) - 8
    ramp = jnp.broadcast_to(jnp.asarray(side, jnp.float32)[None, :, None, None], (300, 17, 17, 1))
    turned = np.asarray(OPERATIONS["rotate"](jax.random.key(5), ramp))[:, 4:13, 4:13, 0]
    np.testing.assert_allclose(turned[:, 4, 4], 0, atol=1e-5)
    down, across = turned[:, 5, 4], turned[:, 4, 5]  # cosine and sine of the angle
    np.testing.assert_allclose(down**2 + across**2, 1, atol=1e-4)
    degrees = np.degrees(np.arctan2(across, down))
    assert -15 - 1e-3 <= degrees.min() < -14
    assert 14 < degrees.max() <= 15 + 1e-3


def test_one_operation_is_drawn_for_a_batch_each_about_equally_often():
    x, names = images(), ("flip", "cutout", "color")

    @jax.jit
    def augmented(key):
        which, parameters = jax.random.split(key)
        return augment(names, "one", key, x), jax.random.randint(which, (), 0, 3), parameters

    drawn = []
    for key in jax.random.split(jax.random.key(0), 90):
        found, which, parameters = augmented(key)
        np.testing.assert_allclose(found, OPERATIONS[names[which]](parameters, x), atol=1e-6)
        drawn.append(which)
    assert np.all(np.bincount(drawn, minlength=3) > 15)


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_single_operation_is_that_operation_in_both_modes(name):
    x, key = images(), jax.random.key(6)
    both = jax.jit(lambda key, x: [augment((name,), mode, key, x) for mode in ("one", "all")])(key, x)
    for found, parameters in zip(both, [jax.random.split(key)[1], jax.random.split(key, 1)[0]], strict=True):
        np.testing.assert_allclose(found, OPERATIONS[name](parameters, x), atol=1e-6)


@pytest.mark.parametrize("names", [tuple(OPERATIONS), ("cutout", "rotate"), ("rotate", "cutout")])
def test_all_operations_follow_each_other_as_listed_each_with_its_own_key(names):
    x, key = images(), jax.random.key(10)
    expected = np.asarray(x, np.float64)
    for name, parameters in zip(names, jax.random.split(key, len(names)), strict=True):
        expected = np.stack(REFERENCES[name](parameters, expected))
    np.testing.assert_allclose(jax.jit(augment, static_argnums=(0, 1))(names, "all", key, x), expected, atol=1e-4)


@pytest.mark.parametrize("mode", ["one", "all"])
def test_batches_of_several_networks_are_augmented_side_by_side_as_each_alone(mode):
    x = jnp.stack([images(seed=seed) for seed in range(3)])
    keys = jax.random.split(jax.random.key(11), 3)
    augmented = jax.jit(lambda key, x: augment(("translate", "color"), mode, key, x))
    together = jax.jit(jax.vmap(augmented))(keys, x)
    for key, batch, result in zip(keys, x, together, strict=True):
        np.testing.assert_allclose(result, augmented(key, batch), atol=1e-5)


@pytest.mark.parametrize("mode", ["one", "all"])
def test_no_augmentation_changes_nothing(mode):
    x = images()
    assert augment((), mode, jax.random.key(0), x) is x


@pytest.mark.parametrize("strategy", ["frepo", "dsa"])
def test_an_operation_of_its_own_is_drawn_for_each_image(strategy):
    x, names = images(60), ("flip", "cutout", "rotate")
    operations = [jax.jit(module.OPERATIONS[strategy][name]) for name in names]
    key = jax.random.key(12)
    which, parameters = jax.random.split(key)
    drawn = np.asarray(jax.random.randint(which, (60, 1, 1, 1), 0, 3)).ravel()
    keys = jax.random.split(parameters, 3)
    each = [np.asarray(operation(own, x)) for operation, own in zip(operations, keys, strict=True)]
    found = np.asarray(jax.jit(augment, static_argnums=(0, 1, 4))(names, "each", key, x, strategy))
    for number, operation in enumerate(drawn):
        np.testing.assert_allclose(found[number], each[operation][number], atol=1e-6)
    assert np.all(np.bincount(drawn, minlength=3) > 10)

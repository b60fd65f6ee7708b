"""Derivatives of first and second order, forwards and backwards, of all that has a derivative written out by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from jax.test_util import check_grads

from frepo.networks import convolution, layers
from frepo.networks.build import build_model
from frepo.networks.chunks import in_chunks
from frepo.spec import AlexNet, Conv, DcConv, KipConv, ResNet18, ResNet18Ap, Vgg11

MODES = ["fwd", "rev"]

TINY = {
    "conv": (Conv(width=2, depth=2), 8),
    "dcconv": (DcConv(width=2, depth=2), 8),
    "kipconv": (KipConv(width=2, depth=2), 8),
    "alexnet": (AlexNet(width=4), 8),
    "vgg11": (Vgg11(width=4), 32),
    "resnet18": (ResNet18(width=2), 8),
    "resnet18_ap": (ResNet18Ap(width=2), 8),
}


def normal(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


@pytest.mark.parametrize("channels", [1, 2])
def test_the_convolution(channels):
    function = jax.jit(convolution._convolve_on_cpu)
    x, kernel = normal(0, 1, 3, 2, channels), normal(1, 3, 3, channels, 2)
    check_grads(function, (x, kernel), 2, MODES, atol=1e-2, rtol=1e-2, eps=0.01)


@pytest.mark.parametrize("shape", [(4, 6), (5, 3)])
def test_pooling(shape):
    x = normal(0, 2, *shape, 2)
    x += jnp.sign(x) / 2  # no step crosses zero
    check_grads(jax.jit(layers.relu_average_pool), (x,), 2, MODES, atol=1e-2, rtol=1e-2, eps=0.01)


def second_order(function, x, direction):
    """Return value, gradient, and slope and curvature along a direction in every way there is."""

    def slope(x):
        return jax.jvp(function, (x,), (direction,))[1]

    def by_gradient(x):
        return jnp.vdot(jax.grad(function)(x), direction)

    gradient, forwards_of_backwards = jax.jvp(jax.grad(function), (x,), (direction,))
    return {
        "gradient": gradient,
        "slopes": (slope(x), by_gradient(x)),
        "curvatures": (jax.jvp(slope, (x,), (direction,))[1], jnp.vdot(forwards_of_backwards, direction)),
        "products": (forwards_of_backwards, jax.grad(slope)(x), jax.grad(by_gradient)(x)),
    }


@pytest.mark.parametrize("name", TINY)
def test_every_network_is_differentiated_twice_in_every_way(name):
    table, side = TINY[name]
    model = build_model(table.model_copy(update={"normalization": "identity"}), 3, (side, side, 3))
    images = normal(0, 2, side, side, 3)
    flat, unravel = ravel_pytree((model.init(jax.random.key(0), images, train=False), images))
    direction = normal(2, *flat.shape)

    def function(flat):
        variables, images = unravel(flat)
        return jnp.sum(jnp.sin(model.apply(variables, images, train=False)[1]))

    def close(one, other, tolerance):
        np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance * np.abs(other).max())

    found = jax.jit(lambda: second_order(function, flat, direction))()
    step, value = 1e-3 / jnp.linalg.norm(direction), jax.jit(function)
    close(*found["slopes"], 1e-4)
    close(found["slopes"][0], (value(flat + step * direction) - value(flat - step * direction)) / (2 * step), 5e-2)
    for other in found["products"][1:]:
        close(found["products"][0], other, 1e-3)
    close(*found["curvatures"], 1e-3)


def test_chunks_give_the_derivatives_of_the_whole_to_images_and_weights():
    images, weights = normal(0, 7, 4, 4, 2), normal(1, 3, 3, 2, 2)

    def function(chunk):
        def total(weights, images):
            def features(x):
                return layers.relu_average_pool(convolution._convolve_on_cpu(x, weights)).reshape(len(x), -1)

            return jnp.sum(jnp.sin(in_chunks(features, images, chunk)))

        gradient = jax.grad(total, argnums=(0, 1))
        along = (weights, images)
        again = jax.grad(lambda *at: sum(jnp.vdot(*pair) for pair in zip(gradient(*at), along, strict=True)), (0, 1))
        return jax.jit(lambda: (gradient(*along), jax.jvp(gradient, along, along)[1], again(*along)))()

    for one, other in zip(jax.tree.leaves(function(3)), jax.tree.leaves(function(7)), strict=True):
        assert np.abs(other).max() > 0.1
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4)

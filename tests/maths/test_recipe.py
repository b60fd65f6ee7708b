"""From a recipe to optimisers, steps and examples: against PyTorch's rules in NumPy float64."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from frepo.networks import recipe as recipes
from frepo.networks.training import fixed_data, with_mirror_images
from frepo.spec import Recipe

CONSTANT = {"schedule": "constant", "warmup_steps": 0}


def trained(recipe, start, gradients):
    """Return weights after steps with the given gradients."""
    optimizer = recipes.optimizer(recipe, 10)
    weights = jnp.asarray(start)
    state = optimizer.init(weights)
    for gradient in gradients:
        updates, state = optimizer.update(jnp.asarray(gradient), state, weights)
        weights = optax.apply_updates(weights, updates)
    return np.asarray(weights)


def sgd(start, gradients, rate, momentum, decay):
    """Return what `torch.optim.SGD` makes of them."""
    weights, buffer = start.astype(np.float64), None
    for gradient in gradients:
        gradient = gradient + decay * weights
        buffer = gradient if buffer is None else momentum * buffer + gradient
        weights = weights - rate * buffer
    return weights


def adam(start, gradients, rate, decay):
    """Return what `torch.optim.Adam` makes of them."""
    weights, first, second = start.astype(np.float64), 0.0, 0.0
    for step, gradient in enumerate(gradients, start=1):
        gradient = gradient + decay * weights
        first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
        weights = weights - rate * (first / (1 - 0.9**step)) / (np.sqrt(second / (1 - 0.999**step)) + 1e-8)
    return weights


def test_coupled_decay_is_that_of_pytorch():
    random = np.random.default_rng(0)
    start, gradients = random.normal(size=5).astype(np.float32), random.normal(size=(6, 5)).astype(np.float32)
    common = {"learning_rate": 0.05, "weight_decay": 0.1, "decay": "coupled", **CONSTANT}
    found = trained(Recipe(optimizer="sgd", momentum=0.8, **common), start, gradients)
    np.testing.assert_allclose(found, sgd(start, gradients, 0.05, 0.8, 0.1), atol=1e-6)
    found = trained(Recipe(optimizer="adam", **common), start, gradients)
    np.testing.assert_allclose(found, adam(start, gradients, 0.05, 0.1), atol=1e-5)
    other = Recipe(optimizer="sgd", momentum=0.8, learning_rate=0.05, weight_decay=0.1, **CONSTANT)
    assert not np.allclose(trained(other, start, gradients), sgd(start, gradients, 0.05, 0.8, 0.1), atol=1e-4)


@pytest.mark.parametrize(
    ("recipe", "images", "epochs", "expected"),
    [
        (Recipe(), 10, None, 1000),
        (Recipe(steps=7, warmup_steps=0), 10, None, 7),
        (Recipe(epochs=300), 10, None, 300),
        (Recipe(epochs=300, batch_size=256), 500, None, 586),
        (Recipe(epochs=300), 5000, 2, 20),  # of all real images
        (Recipe(mirrored=True), 10, None, 1000),
        (Recipe(mirrored=True, epochs=300, batch_size=15), 10, None, 400),
    ],
)
def test_epochs_are_passes_over_the_images(recipe, images, epochs, expected):
    assert recipes.training_steps(recipe, images, epochs) == expected


def test_mirror_images_follow_the_images_with_their_labels():
    random = np.random.default_rng(0)
    images, labels = jnp.asarray(random.normal(size=(4, 3, 5, 2)), jnp.float32), jnp.eye(4)
    data = with_mirror_images(fixed_data(images, labels), 4)
    indices = np.array([[1, 5], [7, 0]], np.int32)
    given = data.given(indices)
    for row in range(2):
        found, wanted = data.take(data.constants, jax.tree.map(lambda leaf, row=row: leaf[row], given))
        for image, label, index in zip(found, wanted, indices[row], strict=True):
            own = images[index % 4]
            np.testing.assert_array_equal(image, own[:, ::-1] if index >= 4 else own)
            np.testing.assert_array_equal(label, labels[index % 4])


def test_what_is_done_to_images_is_named():
    named = recipes.augmentation_text
    assert named(Recipe(augmentation=())) == "none"
    assert named(Recipe(augmentation=("flip", "crop"))) == "flip+crop"
    every = Recipe(augmentation=("crop", "scale"), augmentation_strategy="dsa", mirrored=True, mix="cutmix")
    assert named(every) == "mirrored+dsa:crop+dsa:scale+cutmix"

"""From a recipe to the optimiser, the loss and the labels for training networks."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float32

from frepo.engine.shared import shared
from frepo.networks.augmentation import augment
from frepo.networks.losses import cross_entropy, half_squared_error
from frepo.networks.mixing import mix
from frepo.spec import Recipe

DEFAULT_STEPS = ((10, 1000), (100, 2000), (500, 5000), (1000, 10_000))
"""(at most this many images, training steps)."""
MOST_STEPS = 40_000
MIXING = 1
"""Number of the key of mixtures among those of a step."""


def training_steps(recipe: Recipe, num_images: int, epochs: int | None) -> int:
    """Return a network's training steps: from passes over the data, from the recipe, or from the number of images.

    Passes go over mirror images too, where the recipe adds them to the `num_images`.
    """
    if epochs is not None:
        return _passes(epochs, recipe, num_images)
    if recipe.steps is not None:
        return recipe.steps
    if recipe.epochs is not None:
        return _passes(recipe.epochs, recipe, num_images)
    return next((steps for most, steps in DEFAULT_STEPS if num_images <= most), MOST_STEPS)


def _passes(epochs: int, recipe: Recipe, num_images: int) -> int:
    count = 2 * num_images if recipe.mirrored else num_images
    return -(-epochs * count // min(recipe.batch_size, count))


def optimizer(recipe: Recipe, steps: int) -> optax.GradientTransformation:
    """Return the optimiser for a training of `steps` steps, with its schedule."""
    schedule = _schedule(recipe, steps)
    decay = optax.add_decayed_weights(recipe.weight_decay)
    coupled = recipe.decay == "coupled"
    match recipe.optimizer:
        case "adam" if recipe.weight_decay:
            return (
                optax.chain(decay, optax.adam(schedule))
                if coupled
                else optax.adamw(schedule, weight_decay=recipe.weight_decay)
            )
        case "adam":
            return optax.adam(schedule)
        case "lamb":
            return optax.lamb(schedule, weight_decay=recipe.weight_decay)
        case "sgd":
            momentum = optax.trace(0.9 if recipe.momentum is None else recipe.momentum)
            parts = (decay, momentum) if coupled else (momentum, decay)
            return optax.chain(*parts, optax.scale_by_learning_rate(schedule))


def _schedule(recipe: Recipe, steps: int) -> optax.Schedule:
    peak, warmup = recipe.learning_rate, recipe.warmup_of(steps)
    match recipe.schedule:
        case "cosine":
            return optax.warmup_cosine_decay_schedule(0.0, peak, warmup, steps, end_value=peak / 100)
        case "step":
            after = optax.piecewise_constant_schedule(peak, {max(0, steps // 2 - warmup): 0.1})
        case "constant":
            after = optax.constant_schedule(peak)
    return optax.join_schedules([optax.linear_schedule(0.0, peak, warmup), after], [warmup])


def loss(recipe: Recipe) -> Callable[[jax.Array, jax.Array], jax.Array]:
    """Return (logits [n, C], targets [n, C]) -> loss."""
    return half_squared_error if recipe.loss == "mse" else cross_entropy


@shared
def examples(recipe: Recipe) -> Callable[[jax.Array, jax.Array, jax.Array], tuple[jax.Array, jax.Array]]:
    """Return (key, images [n, h, w, c], centred labels [n, C]) -> (augmented and mixed images, targets of the loss)."""

    def example(key: jax.Array, images: jax.Array, labels: jax.Array) -> tuple[jax.Array, jax.Array]:
        wanted = targets(recipe, labels)
        images = augment(recipe.operations, recipe.augmentation_mode, key, images, recipe.augmentation_strategy)
        if recipe.mix is None:
            return images, wanted
        return mix(recipe.mix, recipe.mix_alpha, jax.random.fold_in(key, MIXING), images, wanted)

    return example


def augmentation_text(recipe: Recipe) -> str:
    """Return what is done to images before a network is trained on them: `mirrored+dsa:color+dsa:crop+cutmix`."""
    strategy = "" if recipe.augmentation_strategy == "frepo" else f"{recipe.augmentation_strategy}:"
    parts = ["mirrored"] * recipe.mirrored + [f"{strategy}{name}" for name in recipe.operations]
    return "+".join([*parts, *([recipe.mix] if recipe.mix else [])]) or "none"


def targets(recipe: Recipe, labels: Float32[Array, "n C"]) -> Float32[Array, "n C"]:
    """Return the targets of the loss, float32 [n, C], from centred labels of the same shape.

    `mse` uses centred labels, `xent` one-hot labels and `soft_xent` the softmax of the labels divided by the
    temperature, as in the paper's code (which does not divide the logits).
    """
    if recipe.loss == "soft_xent":
        return jax.nn.softmax(labels / (recipe.temperature or 1.0))
    if recipe.labels == "soft":
        return labels
    num_classes = labels.shape[-1]
    one_hot = jax.nn.one_hot(jnp.argmax(labels, axis=-1), num_classes, dtype=jnp.float32)
    return one_hot if recipe.loss == "xent" else one_hot - np.float32(1 / num_classes)

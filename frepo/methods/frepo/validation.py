"""Choice among intermediate states by held-out training images, never by test data."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from frepo.data.dataset import Dataset
from frepo.data.residency import LabelledImages, input_maker
from frepo.engine.devices import compiled, in_shares, place
from frepo.methods.frepo.state import Best, DistillState
from frepo.methods.frepo.step import Metrics
from frepo.methods.pool import PoolTraining
from frepo.networks.augmentation import both_sides
from frepo.networks.chunks import in_chunks
from frepo.networks.krr import krr_predict
from frepo.networks.training import Network
from frepo.spec import Frepo

CHOICES = 20
"""Number of candidate states, evenly spread over the steps."""
ROUNDED_TO = 100
"""Granularity of validation steps: the length of a block on a GPU."""

Validate = Callable[[DistillState, int], tuple[DistillState, Metrics]]


def validation_steps(steps: int) -> int:
    """Return the number of steps between validations."""
    return -(-steps // CHOICES) if steps < CHOICES * ROUNDED_TO else -(-steps // (CHOICES * ROUNDED_TO)) * ROUNDED_TO


def make_validation(
    settings: Frepo, training: PoolTraining, dataset: Dataset, held_out: np.ndarray, chunk: int
) -> Validate:
    """Return a function that scores a state and keeps the best.

    The score is the accuracy of kernel ridge regression from the distilled data on held-out images, averaged over the
    pool networks.
    """
    to_inputs = input_maker(dataset.preprocess)
    images = place(LabelledImages(np.asarray(dataset.train_images[held_out]), dataset.train_labels[held_out]))

    def accuracy(member: Network, state: DistillState, images: LabelledImages) -> jax.Array:
        def features(x: jax.Array) -> jax.Array:
            return in_shares(partial(training.features, member), x)

        support, labels = both_sides(state.data.images, state.data.labels, flip=settings.flip)
        f_SxD = in_chunks(features, support, chunk)
        f_TxD = in_chunks(lambda stored: features(to_inputs(stored)), images.images, chunk)
        prediction = krr_predict(f_TxD, f_SxD, labels, settings.reg)
        return jnp.mean(jnp.argmax(prediction, axis=-1) == images.labels)

    def of_member(state: DistillState, images: LabelledImages, number: Any) -> jax.Array:
        return accuracy(jax.tree.map(lambda leaf: leaf[number], state.pool), state, images)

    score = compiled(of_member)

    def validate(state: DistillState, step: int) -> tuple[DistillState, Metrics]:
        size = len(jax.tree.leaves(state.pool)[0])
        found: Any = sum(score(state, images, place(np.int32(i))) for i in range(size)) / size
        assert state.best is not None
        if float(found) > float(state.best.accuracy):
            # Copies: the next step donates the buffers of the data.
            data: Any = jax.tree.map(jnp.copy, state.data)
            state = state.replace(best=Best(data, found, place(np.int32(step))))  # pyright: ignore[reportAttributeAccessIssue]
        return state, {"validation_accuracy": found}

    return validate

"""The pool of half-trained networks: its schedule of use and replacement, and its training."""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import numpy as np
import optax

from frepo.data.dataset import DatasetInfo
from frepo.engine.devices import share_evenly
from frepo.engine.shared import shared
from frepo.methods.base import DistilledData
from frepo.networks.build import build_model
from frepo.networks.losses import half_squared_error
from frepo.networks.training import Network, Trainer
from frepo.plan import DistillStage
from frepo.spec import Architecture, Pool

Loss = Callable[[jax.Array, jax.Array], jax.Array]
"""(logits [n, C], labels [n, C]) -> scalar."""

BATCH_MOMENTUM = 0.1
"""The newest batch has nine tenths of batch norm's running averages: a pool network lives for a hundred steps or so."""


@dataclass(frozen=True)
class PoolSchedule:
    """For each step, the index of its pool network, int32 [steps], and whether the step replaces it, bool [steps]."""

    member: np.ndarray
    replace: np.ndarray


def pool_schedule(seed: tuple[int, ...], size: int, max_online_updates: int, steps: int) -> PoolSchedule:
    """Return the schedule of a pool; it depends on the seed alone, never on the data.

    Each step draws its pool network uniformly. A network whose age, its number of training steps, exceeds
    `max_online_updates` is replaced by a fresh one of age 0; otherwise it takes a step. Network i starts with its age
    counter at i * (max_online_updates // size), so that the networks are not all replaced together.
    """
    member = np.random.default_rng(seed).integers(0, size, steps, dtype=np.int32)
    replace = np.zeros(steps, bool)
    ages = [i * (max_online_updates // size) for i in range(size)]
    for step, current in enumerate(member.tolist()):
        replace[step] = ages[current] > max_online_updates
        ages[current] = 0 if replace[step] else ages[current] + 1
    return PoolSchedule(member, replace)


@dataclass(frozen=True)
class UpdateSchedule(PoolSchedule):
    """A schedule whose steps train their network several times: int32 [steps], how often."""

    updates: np.ndarray


def update_schedule(seed: tuple[int, ...], size: int, max_online_updates: int, most: int, steps: int) -> UpdateSchedule:
    """Return the schedule of a pool whose network takes 1 to `most` training steps in each step, equally likely.

    After a step in which it reaches `max_online_updates` of them, a network is replaced: its training is left out then.
    Ages at the start are spread as in `pool_schedule`.
    """
    random = np.random.default_rng(seed)
    member = random.integers(0, size, steps, dtype=np.int32)
    updates = random.integers(1, most + 1, steps, dtype=np.int32)
    replace = np.zeros(steps, bool)
    ages = [i * (max_online_updates // size) for i in range(size)]
    for step, current in enumerate(member.tolist()):
        ages[current] += int(updates[step])
        replace[step] = ages[current] >= max_online_updates
        ages[current] = 0 if replace[step] else ages[current]
    return UpdateSchedule(member, replace, updates)


@dataclass(frozen=True)
class PoolTraining:
    """Initialises and trains the networks of the pool."""

    trainer: Trainer
    batch_size: int

    def fresh_pool(self, keys: jax.Array) -> Network:
        """Return newly initialised networks stacked on a leading axis, one for each key."""
        return jax.vmap(self.trainer.fresh)(keys)

    def features(self, member: Network, images: jax.Array) -> jax.Array:
        """Return features [n, d] of images [n, h, w, c], with batch norm's running averages."""
        return self.trainer.features(member, images)

    def train(self, member: Network, data: DistilledData, key: jax.Array) -> Network:
        """Return the network after one step on the distilled data, or on a batch of `batch_size` if that is smaller."""
        images, labels = data.images, data.labels
        if len(images) > self.batch_size:
            chosen = jax.random.permutation(key, len(images))[: self.batch_size]
            images, labels = images[chosen], labels[chosen]
        return self.trainer.step(member, share_evenly(images), labels)[0]


def pool_training(
    work: DistillStage, info: DatasetInfo, loss: Loss = half_squared_error, softplus: float | None = None
) -> PoolTraining:
    """Return the training of the networks of the pool by `loss`, with `softplus` in place of ReLU where it is given."""
    assert work.architecture is not None
    assert work.pool is not None
    return _training(work.architecture, work.pool, info.num_classes, info.image_shape, loss, softplus)


@shared
def _training(
    architecture: Architecture,
    pool: Pool,
    num_classes: int,
    image_shape: tuple[int, int, int],
    loss: Loss,
    softplus: float | None,
) -> PoolTraining:
    model = build_model(architecture, num_classes, image_shape, BATCH_MOMENTUM, softplus)
    return PoolTraining(Trainer(model, optax.adam(pool.learning_rate), image_shape, loss), pool.batch_size)

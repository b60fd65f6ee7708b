"""The pool of half-trained networks: who is used when, who is replaced, and how one of them trains."""

from dataclasses import dataclass

import jax
import numpy as np

from frepo.engine.devices import share_evenly
from frepo.methods.base import DistilledData
from frepo.networks.training import Network, Trainer

BATCH_MOMENTUM = 0.1
"""Batch norm's running averages take nine tenths of the newest batch: a member lives for about a hundred steps."""


@dataclass(frozen=True)
class PoolSchedule:
    """Which member each step uses, int32 [steps], and whether it is replaced instead of trained, bool [steps]."""

    member: np.ndarray
    replace: np.ndarray


def pool_schedule(seed: tuple[int, ...], size: int, max_online_updates: int, steps: int) -> PoolSchedule:
    """Return the schedule of a pool; it depends on the seed alone, never on the data.

    The member of each step is drawn uniformly. A member whose age, its number of training steps, is more than
    `max_online_updates` is replaced by a fresh one of age 0; otherwise it takes a step. Member i starts with its age
    counter at i * (max_online_updates // size), so that they are not all replaced together.
    """
    member = np.random.default_rng(seed).integers(0, size, steps, dtype=np.int32)
    replace = np.zeros(steps, bool)
    ages = [i * (max_online_updates // size) for i in range(size)]
    for step, current in enumerate(member.tolist()):
        replace[step] = ages[current] > max_online_updates
        ages[current] = 0 if replace[step] else ages[current] + 1
    return PoolSchedule(member, replace)


@dataclass(frozen=True)
class PoolTraining:
    """How a member of the pool is made and takes a step."""

    trainer: Trainer
    batch_size: int

    def fresh_pool(self, keys: jax.Array) -> Network:
        """Return newly initialised members stacked on a leading axis, one for each key."""
        return jax.vmap(self.trainer.fresh)(keys)

    def features(self, member: Network, images: jax.Array) -> jax.Array:
        """Return features [n, d] of images [n, h, w, c], batch norm on its running averages."""
        return self.trainer.apply(member, images)[0]

    def train(self, member: Network, data: DistilledData, key: jax.Array) -> Network:
        """Return the member after one step on the distilled data, or on `batch_size` of it where that is less."""
        images, labels = data.images, data.labels
        if len(images) > self.batch_size:
            chosen = jax.random.permutation(key, len(images))[: self.batch_size]
            images, labels = images[chosen], labels[chosen]
        return self.trainer.step(member, share_evenly(images), labels)[0]

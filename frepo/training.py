"""Training and scoring networks on given data, one or many at once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct

from frepo.blocks import on_cpu
from frepo.data.augment import augment
from frepo.data.batches import batch_indices
from frepo.devices import compiled, in_shares, place, share_evenly
from frepo.journal import Journal
from frepo.loop import Loop, run_steps
from frepo.losses import half_squared_error
from frepo.models.conv import ConvNet
from frepo.randomness import keys_for_program
from frepo.signals import raise_if_stopping
from frepo.spec.application import Augmentation

Params = Any
"""A pytree of float32 arrays, as Flax keeps it."""

SCORED_AT_ONCE = 1000


@struct.dataclass
class Network:
    """Weights of one network and what its optimiser remembers; or of several, stacked on a leading axis."""

    params: Params
    batch_stats: Params
    opt_state: optax.OptState


@dataclass(frozen=True)
class Trainer:
    """How a network is made, takes a step and is applied."""

    model: ConvNet
    optimizer: optax.GradientTransformation
    image_shape: tuple[int, int, int]

    @property
    def num_parameters(self) -> int:
        """Number of learned weights of a network."""
        fresh = jax.eval_shape(lambda: self.fresh(jax.random.key(0)))
        return sum(leaf.size for leaf in jax.tree.leaves(fresh.params))

    def fresh(self, key: jax.Array) -> Network:
        """Return a newly initialised network."""
        variables = self.model.init(key, jnp.zeros((1, *self.image_shape)), train=False)
        return Network(variables["params"], variables.get("batch_stats", {}), self.optimizer.init(variables["params"]))

    def apply(self, network: Network, images: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Map images [n, h, w, c] to (features [n, d], logits [n, C]), batch norm on its running averages."""
        variables = {"params": network.params, "batch_stats": network.batch_stats}
        outputs: Any = self.model.apply(variables, images, train=False)
        return outputs

    def step(self, network: Network, images: jax.Array, labels: jax.Array) -> tuple[Network, jax.Array]:
        """Return the network after one step on half the squared error, batch norm in training mode, and the loss."""

        def loss(params: Params) -> tuple[jax.Array, Params]:
            variables = {"params": params, "batch_stats": network.batch_stats}
            (_, logits), updated = self.model.apply(variables, images, train=True, mutable=["batch_stats"])
            return half_squared_error(logits, labels), updated.get("batch_stats", {})

        (value, batch_stats), gradient = jax.value_and_grad(loss, has_aux=True)(network.params)
        updates, opt_state = self.optimizer.update(gradient, network.opt_state, network.params)
        return Network(optax.apply_updates(network.params, updates), batch_stats, opt_state), value


class TrainingData(NamedTuple):
    """Images float32 [n, h, w, c] and labels float32 [n, C], centred, soft or hard."""

    images: jax.Array
    labels: jax.Array


class _Given(NamedTuple):
    step: jax.Array | np.ndarray
    batch: jax.Array | np.ndarray
    """int32 [networks, batch_size]."""


def training_loop(
    trainer: Trainer,
    data: TrainingData,
    seeds: Sequence[tuple[int, ...]],
    steps: int,
    batch_size: int,
    augmentation: tuple[Augmentation, ...],
) -> Loop[Any]:
    """Return the loop that trains one network for each entry of `seeds`, all side by side.

    A network depends on its own seeds only, so it comes out the same, to rounding, alone or beside others. On a CPU
    the networks are written out in one program, elsewhere they are vectorised over their weights.
    """
    keys = keys_for_program(*seeds)
    size = min(batch_size, len(data.images))

    def train_one(network: Network, key: jax.Array, batch: Any, step: Any, data: TrainingData) -> Any:
        images = augment(augmentation, jax.random.fold_in(key, step), data.images[batch])
        return trainer.step(network, share_evenly(images), data.labels[batch])

    def step(networks: Any, data: TrainingData, given: _Given, choice: Any) -> Any:  # noqa: ARG001
        if isinstance(networks, tuple):
            pairs = [train_one(n, keys()[i], given.batch[i], given.step, data) for i, n in enumerate(networks)]
            networks, losses = zip(*pairs, strict=True)
            return tuple(networks), {"train_loss": jnp.mean(jnp.stack(losses))}
        networks, losses = jax.vmap(train_one, (0, 0, 0, None, None))(networks, keys(), given.batch, given.step, data)
        return networks, {"train_loss": jnp.mean(losses)}

    def inputs(first: int, count: int) -> tuple[_Given, np.ndarray]:
        batches = [batch_indices(seed, len(data.images), size, first, count) for seed in seeds]
        return _Given(np.arange(first, first + count), np.stack(batches, axis=1)), np.zeros(count, bool)

    def initial() -> Any:
        if on_cpu():
            return tuple(trainer.fresh(keys()[i]) for i in range(len(seeds)))
        return jax.vmap(trainer.fresh)(keys())

    return Loop(step, initial, data, inputs, steps, precision=trainer.model.precision)


def train_networks(loop: Loop[Any], journal: Journal) -> list[Network]:
    """Run a `training_loop` and return its networks.

    Raises:
        Interrupted: a signal came; the state is saved.
        FrepoError: the training diverged.
    """
    networks = run_steps(loop, journal)
    if isinstance(networks, tuple):
        return list(networks)
    count = len(jax.tree.leaves(networks)[0])
    return [jax.tree.map(lambda leaf, i=i: leaf[i], networks) for i in range(count)]


class Scorer:
    """Counts how often networks of one kind are right; `to_inputs` maps images as they are stored to their inputs."""

    def __init__(self, trainer: Trainer, to_inputs: Callable[[jax.Array], jax.Array]) -> None:
        def hits(network: Network, images: jax.Array, labels: jax.Array) -> tuple[jax.Array, jax.Array]:
            logits = in_shares(lambda share: trainer.apply(network, to_inputs(share))[1], images)
            best = jax.lax.top_k(logits, min(5, logits.shape[-1]))[1] == labels[:, None]
            return jnp.sum(best[:, 0]), jnp.sum(best)

        self._hits = compiled(hits)

    def __call__(self, network: Network, images: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
        """Return top-1 and top-5 accuracy in 0..1 over all of images [n, h, w, c] and labels int [n], host arrays."""
        counts = np.zeros(2, np.int64)
        for start in range(0, len(images), SCORED_AT_ONCE):
            raise_if_stopping()
            part = slice(start, start + SCORED_AT_ONCE)
            counts += np.array(self._hits(network, *place((images[part], labels[part]))), np.int64)
        top1, top5 = counts / len(images)
        return float(top1), float(top5)

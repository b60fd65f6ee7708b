"""Training networks on given data, one or many at once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct

from frepo.data.batches import batch_indices
from frepo.data.residency import LabelledImages, Take, TrainingImages, as_they_are
from frepo.engine.blocks import Step, on_cpu
from frepo.engine.devices import place, share_evenly
from frepo.engine.loop import Loop, SavedForm
from frepo.engine.randomness import key_data
from frepo.engine.shared import shared
from frepo.networks.base import ImageNetwork, num_parameters
from frepo.networks.losses import centered_one_hot, half_squared_error

Params = Any
"""A pytree of float32 arrays, as Flax keeps it."""


@struct.dataclass
class Network:
    """Weights and optimiser state of one network, or of several, stacked on a leading axis."""

    params: Params
    batch_stats: Params
    opt_state: optax.OptState


@dataclass(frozen=True)
class Trainer:
    """Creates, trains and applies the networks of one kind."""

    model: ImageNetwork
    optimizer: optax.GradientTransformation
    image_shape: tuple[int, int, int]
    loss: Callable[[jax.Array, jax.Array], jax.Array] = half_squared_error
    """(logits [n, C], targets [n, C]) -> scalar."""

    @property
    def num_parameters(self) -> int:
        """Number of learned weights of a network."""
        return num_parameters(self.model, self.image_shape)

    def fresh(self, key: jax.Array) -> Network:
        """Return a newly initialised network."""
        variables = self.model.init(key, jnp.zeros((1, *self.image_shape)), train=False)
        return Network(variables["params"], variables.get("batch_stats", {}), self.optimizer.init(variables["params"]))

    def apply(self, network: Network, images: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Map images [n, h, w, c] to (features [n, d], logits [n, C]), with batch norm's running averages."""
        variables = {"params": network.params, "batch_stats": network.batch_stats}
        outputs: Any = self.model.apply(variables, images, train=False)
        return outputs

    def features(self, network: Network, images: jax.Array) -> jax.Array:
        """Map images [n, h, w, c] to features [n, d], with batch norm's running averages."""
        return self.apply(network, images)[0]

    def logits(self, network: Network, images: jax.Array) -> jax.Array:
        """Map images [n, h, w, c] to logits [n, C], with batch norm's running averages."""
        return self.apply(network, images)[1]

    def step(self, network: Network, images: jax.Array, labels: jax.Array) -> tuple[Network, jax.Array]:
        """Return the network after one step on the loss, with batch norm in training mode, and the loss before it."""

        def loss(params: Params) -> tuple[jax.Array, Params]:
            variables = {"params": params, "batch_stats": network.batch_stats}
            (_, logits), updated = self.model.apply(variables, images, train=True, mutable=["batch_stats"])
            return self.loss(logits, labels), updated.get("batch_stats", {})

        (value, batch_stats), gradient = jax.value_and_grad(loss, has_aux=True)(network.params)
        updates, opt_state = self.optimizer.update(gradient, network.opt_state, network.params)
        return Network(optax.apply_updates(network.params, updates), batch_stats, opt_state), value


def fixed_data(images: Any, labels: Any) -> TrainingImages:
    """Return images float32 [n, h, w, c] and labels float32 [n, C] as a loop reads them, both on the device."""
    return TrainingImages(place(LabelledImages(images, labels)), as_they_are, _taken, 0)


def _taken(data: Any, indices: Any) -> tuple[jax.Array, jax.Array]:
    return data.images[indices], data.labels[indices]


def centered_data(images: TrainingImages, num_classes: int, label_classes: int) -> TrainingImages:
    """Return training images whose int32 labels arrive as centred one-hot labels."""
    return replace(images, take=_centered(images.take, num_classes, label_classes))


@shared
def _centered(take: Take, num_classes: int, label_classes: int) -> Take:
    def centered(constants: Any, given: Any) -> tuple[jax.Array, jax.Array]:
        inputs, labels = take(constants, given)
        return inputs, centered_one_hot(labels, num_classes, label_classes)

    return centered


def with_mirror_images(images: TrainingImages, count: int) -> TrainingImages:
    """Return `count` training images and their mirror images: number `count` + i is that of number i."""

    def given(indices: np.ndarray) -> tuple[Any, np.ndarray]:
        return images.given(indices % count), indices >= count

    return replace(images, given=given, take=_mirrored(images.take))


@shared
def _mirrored(take: Take) -> Take:
    def with_mirrored(constants: Any, given: Any) -> tuple[jax.Array, jax.Array]:
        own, mirrored = given
        inputs, labels = take(constants, own)
        return jnp.where(mirrored[:, None, None, None], inputs[:, :, ::-1], inputs), labels

    return with_mirrored


Example = Callable[[jax.Array, jax.Array, jax.Array], tuple[jax.Array, jax.Array]]
"""Maps a key, images [n, h, w, c] and centred labels [n, C] to network inputs and targets of the loss."""


def _unchanged(_: jax.Array, images: jax.Array, labels: jax.Array) -> tuple[jax.Array, jax.Array]:
    return images, labels


class Regime(NamedTuple):
    """The parts of a training that a `Trainer` does not define."""

    steps: int
    batch_size: int
    example: Example = _unchanged


class _Constants(NamedTuple):
    images: Any
    """The constants of the `TrainingImages`."""
    keys: Any
    """uint32 [networks, 2], see `key_data`."""


class _Given(NamedTuple):
    step: jax.Array | np.ndarray
    batch: Any
    """For each network its batch, or the input from which the device makes it."""


def training_loop(
    trainer: Trainer, data: TrainingImages, positions: np.ndarray, seeds: Sequence[tuple[int, ...]], regime: Regime
) -> Loop[Any]:
    """Return the loop that trains one network per entry of `seeds` on `data[positions]`, all side by side.

    `positions` is int [n], or [networks, n] if each network has its own images.

    A network depends on its own seeds only: alone or beside others it is the same up to rounding. On a CPU the networks
    are unrolled in one program, elsewhere they are vectorised over their weights.
    """
    start = key_data(*seeds)
    count = positions.shape[-1]
    own_positions = np.broadcast_to(positions, (len(seeds), count))
    size = min(regime.batch_size, count)

    def inputs(first: int, steps: int) -> _Given:
        batches = [
            own[batch_indices(seed, len(own), size, first, steps)]
            for own, seed in zip(own_positions, seeds, strict=True)
        ]
        batch = data.given(np.stack(batches, axis=1).astype(np.int32))
        return _Given(np.arange(first, first + steps), batch)

    side_by_side = _side_by_side(trainer)
    return Loop(
        _step(trainer, data.take, regime.example),
        _one_after_the_other(trainer) if on_cpu() else side_by_side,
        start,
        _Constants(data.constants, place(start)),
        inputs,
        regime.steps,
        bytes_per_step=len(seeds) * data.bytes_per_step,
        precision=trainer.model.precision,
        saved_form=SavedForm(side_by_side, stacked, lambda saved: tuple(one_by_one(saved))) if on_cpu() else None,
    )


@shared
def _step(trainer: Trainer, take: Take, example: Example) -> Step:
    """Return the step of a training loop, all whose other dependences are arguments."""

    def train_one(network: Network, key: jax.Array, batch: Any, step: Any, stored: Any) -> Any:
        images, labels = take(stored, batch)
        images, targets = example(jax.random.fold_in(key, step), images, labels)
        return trainer.step(network, share_evenly(images), targets)

    def step(networks: Any, constants: _Constants, given: _Given) -> Any:
        keys = jax.random.wrap_key_data(constants.keys)
        if isinstance(networks, tuple):
            one = jax.jit(train_one)  # traced and lowered once
            pairs = [
                one(n, keys[i], jax.tree.map(lambda leaf, i=i: leaf[i], given.batch), given.step, constants.images)
                for i, n in enumerate(networks)
            ]
            networks, losses = zip(*pairs, strict=True)
            return tuple(networks), {"train_loss": jnp.mean(jnp.stack(losses))}
        networks, losses = jax.vmap(train_one, (0, 0, 0, None, None))(
            networks, keys, given.batch, given.step, constants.images
        )
        return networks, {"train_loss": jnp.mean(losses)}

    return step


@shared
def _one_after_the_other(trainer: Trainer) -> Callable[[jax.Array], tuple[Network, ...]]:
    def one_after_the_other(keys: jax.Array) -> tuple[Network, ...]:
        return tuple(trainer.fresh(jax.random.wrap_key_data(keys)[i]) for i in range(len(keys)))

    return one_after_the_other


@shared
def _side_by_side(trainer: Trainer) -> Callable[[jax.Array], Network]:
    def side_by_side(keys: jax.Array) -> Network:
        return jax.vmap(trainer.fresh)(jax.random.wrap_key_data(keys))

    return side_by_side


def stacked(networks: Sequence[Network]) -> Network:
    """Return networks stacked on a leading axis, as host arrays, bit for bit."""
    return jax.tree.map(lambda *leaves: np.stack(leaves), *jax.device_get(networks))


def one_by_one(networks: Any) -> list[Network]:
    """Return the networks of a training loop's state."""
    if isinstance(networks, tuple):
        return list(networks)
    count = len(jax.tree.leaves(networks)[0])
    return [jax.tree.map(lambda leaf, i=i: leaf[i], networks) for i in range(count)]

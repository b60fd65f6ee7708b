"""The training step of an evaluation: frepo's, Flax's as scripts have it, and PyTorch's, eager and compiled.

    python tests/benchmarks/training.py [--widths 32 128] [--images 10 100] [--steps 10] [--rounds 5]

One network of three blocks without normalisation on images of 32 pixels, float32. They take turns in one process.
Printed are the median rates and how many times as long each takes as frepo: the median of the rounds, the least and the
most.
"""

import argparse
import importlib.util

import jax
import jax.numpy as jnp
import numpy as np
import optax
from loop import PlainConvNet
from turns import Advance, Turns, frepo_loop, take_turns

from frepo.networks.build import build_model
from frepo.networks.training import Network, Regime, Trainer, fixed_data, training_loop
from frepo.spec import Conv

SHAPE, CLASSES, LEARNING_RATE = (32, 32, 3), 10, 3e-4


def frepo_training(trainer: Trainer, images: np.ndarray, labels: np.ndarray) -> Advance:
    """Return the loop of an evaluation of one network."""
    data = fixed_data(jnp.asarray(images), jnp.asarray(labels))
    loop = training_loop(trainer, data, np.arange(len(images)), [(0, 0)], Regime(1_000_000, len(images)))
    return frepo_loop(loop)


def script_training(trainer: Trainer, network: Network, images: np.ndarray, labels: np.ndarray) -> Advance:
    """Return a jitted step, called by the host."""
    step, inputs, targets = jax.jit(trainer.step), jnp.asarray(images), jnp.asarray(labels)

    def advance(count: int) -> None:
        nonlocal network
        for _ in range(count):
            network, loss = step(network, inputs, targets)
            float(loss)

    return advance


def torch_training(
    trainer: Trainer, network: Network, images: np.ndarray, labels: np.ndarray, *, compiled: bool
) -> Advance:
    """Return the step in PyTorch, from the same weights."""
    import torch
    from torch_peer import TorchConvNet, as_tensor, training

    peer = TorchConvNet(trainer.model, {"params": network.params, "batch_stats": network.batch_stats})
    inputs = as_tensor(images)
    with torch.no_grad():
        theirs = peer(inputs)[1].numpy()
    np.testing.assert_allclose(theirs, trainer.apply(network, jnp.asarray(images))[1], rtol=1e-3, atol=1e-4)
    step = training(peer, inputs, torch.from_numpy(labels), compiled=compiled)

    def advance(count: int) -> None:
        for _ in range(count):
            step()

    return advance


def measure(width: int, count: int, steps: int, rounds: int) -> Turns:
    """Return the times of all of them at one width and number of images."""
    model = build_model(Conv(width=width, normalization="identity"), CLASSES, SHAPE)
    trainer = Trainer(model, optax.adam(LEARNING_RATE), SHAPE)
    plain = Trainer(PlainConvNet(model), optax.adam(LEARNING_RATE), SHAPE)
    random = np.random.default_rng(0)
    images, labels = (random.normal(size=(count, *shape)).astype(np.float32) for shape in (SHAPE, (CLASSES,)))
    network = trainer.fresh(jax.random.key(0))
    contestants = {
        "frepo": frepo_training(trainer, images, labels),
        "script": script_training(plain, network, images, labels),
    }
    if importlib.util.find_spec("torch"):
        for name, compiled in (("PyTorch", False), ("PyTorch compiled", True)):
            contestants[name] = torch_training(trainer, network, images, labels, compiled=compiled)
    return take_turns(contestants, steps, rounds)


def main() -> None:
    """Print a line for each width, number of images and contestant."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--widths", type=int, nargs="+", default=[32, 128])
    parser.add_argument("--images", type=int, nargs="+", default=[10, 100])
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    row = "{:>5} {:>6} {:<16} {:>9} {}"
    print(row.format("width", "images", "training step", "steps/s", "times as long as frepo (least to most)"))
    for width in arguments.widths:
        for count in arguments.images:
            turns = measure(width, count, arguments.steps, arguments.rounds)
            for found in turns.beside("frepo"):
                print(row.format(width, count, *found), flush=True)


if __name__ == "__main__":
    main()

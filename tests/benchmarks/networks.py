"""Training several networks at once: written out one by one in a program, against vectorised over their weights.

    python tests/benchmarks/networks.py [--width 32] [--networks 5] [--images 10 100] [--precision float32]

Both run as frepo runs steps on this backend and take turns in one process; medians over the rounds are printed.
"""

import argparse
import statistics
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax

from frepo.blocks import BlockRunner
from frepo.models.build import build_model
from frepo.spec import Conv
from frepo.training import Trainer, TrainingData, training_loop

SHAPE, CLASSES = (32, 32, 3), 10


def measure(architecture: Conv, networks: int, images: int, rounds: int, steps: int) -> dict[str, float]:
    """Return seconds a step of the two forms."""
    trainer = Trainer(build_model(architecture, CLASSES, SHAPE), optax.adam(3e-4), SHAPE)
    random = np.random.default_rng(0)
    data = TrainingData(*(jnp.asarray(random.normal(size=(images, *s)), jnp.float32) for s in (SHAPE, (CLASSES,))))
    loop = training_loop(trainer, data, [(0, i) for i in range(networks)], 10_000, images, ())
    keys = jax.random.split(jax.random.key(0), networks)
    states = {
        "written out": tuple(trainer.fresh(key) for key in keys),
        "vectorised": jax.vmap(trainer.fresh)(keys),
    }
    runners = {name: BlockRunner(loop.step) for name in states}
    seconds: dict[str, list[float]] = {name: [] for name in states}
    for first in range(-1, rounds):
        given, choices = loop.inputs((first + 1) * steps, steps)
        for name, runner in runners.items():
            began = time.perf_counter()
            states[name], _ = runner(states[name], data, given, choices, lambda: False)
            jax.block_until_ready(states[name])
            if first >= 0:  # the round before the first one compiles
                seconds[name].append((time.perf_counter() - began) / steps)
    return {name: statistics.median(values) for name, values in seconds.items()}


def main() -> None:
    """Print a line for each number of images."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--networks", type=int, default=5)
    parser.add_argument("--images", type=int, nargs="+", default=[10, 100])
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=5)
    arguments = parser.parse_args()
    architecture = Conv(width=arguments.width, normalization="identity", precision=arguments.precision)
    print(f"{'images':>6} {'written out':>12} {'vectorised':>12} {'ratio':>6}")
    for images in arguments.images:
        found = measure(architecture, arguments.networks, images, arguments.rounds, arguments.steps)
        rates = [f"{1 / found[name]:.3g}/s" for name in ("written out", "vectorised")]
        ratio = found["vectorised"] / found["written out"]
        print(f"{images:>6} {rates[0]:>12} {rates[1]:>12} {ratio:>6.2f}", flush=True)


if __name__ == "__main__":
    main()

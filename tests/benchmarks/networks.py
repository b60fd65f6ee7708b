"""Training several networks: written out in one program, vectorised over their weights, and one after the other.

    python tests/benchmarks/networks.py [--width 32] [--networks 5] [--images 10 100] [--precision float32]

All run as frepo runs steps on this backend and take turns in one process; medians over the rounds are printed.
"""

import argparse

import jax
import jax.numpy as jnp
import numpy as np
import optax
from turns import Advance, Turns, frepo_loop, take_turns

from frepo.networks.build import build_model
from frepo.networks.training import Regime, Trainer, fixed_data, training_loop
from frepo.spec import Conv

SHAPE, CLASSES = (32, 32, 3), 10


def measure(architecture: Conv, networks: int, images: int, rounds: int, steps: int) -> Turns:
    """Return the times of a step of all networks in the three forms."""
    trainer = Trainer(build_model(architecture, CLASSES, SHAPE), optax.adam(3e-4), SHAPE)
    random = np.random.default_rng(0)
    data = fixed_data(*(jnp.asarray(random.normal(size=(images, *s)), jnp.float32) for s in (SHAPE, (CLASSES,))))
    regime = Regime(10_000, images)
    loop, alone = (
        training_loop(trainer, data, np.arange(images), [(0, i) for i in range(count)], regime)
        for count in (networks, 1)
    )
    keys = jax.random.split(jax.random.key(0), networks)
    one = frepo_loop(alone)
    contestants: dict[str, Advance] = {
        "written out": frepo_loop(loop, tuple(trainer.fresh(key) for key in keys)),
        "vectorised": frepo_loop(loop, jax.vmap(trainer.fresh)(keys)),
        "one by one": lambda count: one(networks * count),
    }
    return take_turns(contestants, steps, rounds)


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
    names = ("written out", "vectorised", "one by one")
    print(f"{'images':>6} " + " ".join(f"{name:>12}" for name in names) + f" {'one by one / better of the others':>34}")
    for images in arguments.images:
        found = measure(architecture, arguments.networks, images, arguments.rounds, arguments.steps)
        rates = " ".join(f"{found.rate(name):>10}/s" for name in names)
        ratio = found.median("one by one") / min(found.median("written out"), found.median("vectorised"))
        print(f"{images:>6} {rates} {ratio:>34.2f}", flush=True)


if __name__ == "__main__":
    main()

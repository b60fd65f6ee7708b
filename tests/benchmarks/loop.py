"""frepo's loop against step-by-step loops of the same maths, and against the floor of the bare arithmetic.

    python tests/benchmarks/loop.py [--data-dir DIR] [--steps 20] [--rounds 5] SPEC...

The step-by-step loop does what scripts of this kind commonly do: three jitted calls a step (target features, update of
the distilled data, training step of the pool's member), shuffled float64 host batches, the pool on the host, losses
read back every step, the network and the regression as Flax and the formula have them. `same kernels` is that loop with
frepo's network and regression, so that what the loop gains and what they gain can be told apart. The floor is the bare
forward pass of the target batch plus forward and backward pass of the support with frepo's network, jitted alone. They
take turns in one process, `rounds` times `steps` steps each; the medians over the rounds are printed.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from frepo.data.load import load_dataset
from frepo.engine.blocks import BlockRunner
from frepo.methods.base import Job, Learning
from frepo.methods.frepo.learning import prepare
from frepo.methods.frepo.state import DistillState
from frepo.methods.frepo.step import learned_part, meta_optimizer
from frepo.methods.pool import PoolTraining, pool_training
from frepo.networks.convnets import ConvNet
from frepo.networks.krr import krr_predict
from frepo.networks.losses import centered_one_hot, half_squared_error, label_margin
from frepo.plan import DistillStage, compile_plan
from frepo.runtime import RuntimeOptions
from frepo.spec import Frepo, load_spec

ROW = "{:<16} {:>9} {:>13} {:>6} {:>13} {:>6} {:>9} {:>9}"

Advance = Callable[[int], None]
"""Run that many steps to their end."""


def compiled_loop(learning: Learning) -> Advance:
    """Return frepo's own loop."""
    loop = learning.loop
    runner, state, position = BlockRunner(loop.step), loop.first_state(), 0

    def advance(count: int) -> None:
        nonlocal state, position
        state, _ = runner(state, loop.constants, loop.inputs(position, count), lambda _: False)
        jax.block_until_ready(state)
        position += count

    return advance


class PlainConvNet(nn.Module):
    """The network of the spec as Flax has it; the parameters have the names and shapes of frepo's."""

    like: ConvNet

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> tuple[jax.Array, jax.Array]:
        like = self.like
        if x.shape[-1] == 1:
            x = jnp.pad(x, ((0, 0), (2, 2), (2, 2), (0, 0)))
        for block in range(like.depth):
            if block > 0:
                x = nn.BatchNorm(use_running_average=not train, momentum=like.batch_momentum)(x)
            x = nn.relu(nn.Conv(like.width * 2**block, (3, 3), padding=1)(x))
            x = nn.avg_pool(x, (2, 2), strides=(2, 2))
        features = x.reshape(x.shape[0], -1)
        return features, nn.Dense(like.num_classes)(features)


def plain_krr(f_TxD, f_SxD, y_SxC, reg):
    """The regression as the formula has it."""
    k_SxS = jnp.matmul(f_SxD, f_SxD.T, precision="highest")
    k_TxS = jnp.matmul(f_TxD, f_SxD.T, precision="highest")
    ridge = reg * jnp.trace(k_SxS) / len(k_SxS)
    return jnp.matmul(
        k_TxS, jax.scipy.linalg.solve(k_SxS + ridge * jnp.eye(len(k_SxS)), y_SxC, assume_a="pos"), precision="highest"
    )


def step_by_step_loop(
    learning: Learning,
    training: PoolTraining,
    regress: Callable,
    settings: Frepo,
    images: np.ndarray,
    labels: np.ndarray,
) -> Advance:
    """Return a loop of the same maths with the host between all parts of a step."""
    optimizer = meta_optimizer(settings)
    batches, classes = shuffled(images, labels, settings.batch_size), int(labels.max()) + 1

    @jax.jit
    def target_features(member, batch):
        return training.features(member, batch)

    @jax.jit
    def update_data(data, opt_state, member, f_TxD, y_TxC):
        def loss(learned):
            x, y = learned.images, learned.labels
            if settings.flip:
                x, y = jnp.concatenate([x, x[:, :, ::-1]]), jnp.concatenate([y, y])
            prediction = regress(f_TxD, training.features(member, x), y, settings.reg)
            error = half_squared_error(prediction, y_TxC)
            return error + label_margin(learned.labels, classes), error

        gradient, error = jax.grad(loss, has_aux=True)(data)
        updates, opt_state = optimizer.update(learned_part(gradient, settings), opt_state, learned_part(data, settings))
        return data.replace(**optax.apply_updates(learned_part(data, settings), updates)), opt_state, error

    train_member, fresh = jax.jit(training.train), jax.jit(training.trainer.fresh)
    state: DistillState = jax.device_get(learning.loop.first_state())
    data, opt_state = state.data, state.opt_state
    pool = [jax.tree.map(lambda leaf, i=i: leaf[i], state.pool) for i in range(len(jax.tree.leaves(state.pool)[0]))]
    position = 0

    def advance(count: int) -> None:
        nonlocal data, opt_state, position
        given = learning.loop.inputs(position, count)
        for i in range(count):
            batch, batch_labels = next(batches)
            member = pool[given.member[i]]
            y_TxC = np.asarray(centered_one_hot(jnp.asarray(batch_labels), classes), np.float64)
            features = target_features(member, batch)
            data, opt_state, error = update_data(data, opt_state, member, features, y_TxC)
            float(error)
            key = jax.random.key(position + i)
            pool[given.member[i]] = jax.device_get(fresh(key) if given.replace[i] else train_member(member, data, key))
        jax.block_until_ready(data)
        position += count

    return advance


def shuffled(images: np.ndarray, labels: np.ndarray, batch_size: int):
    """Yield float64 batches of shuffled epochs, as an input pipeline does; what is left of an epoch is dropped."""
    random = np.random.default_rng(0)
    while True:
        order = random.permutation(len(images))
        for start in range(0, len(order) - batch_size + 1, batch_size):
            chosen = order[start : start + batch_size]
            yield images[chosen].astype(np.float64), labels[chosen]


def bare_arithmetic(learning: Learning, training: PoolTraining, settings: Frepo, batch: jax.Array) -> Advance:
    """Return the forward pass of the target and the forward and backward pass of the support, and nothing else."""
    state = learning.loop.first_state()
    member = jax.tree.map(lambda leaf: leaf[0], state.pool)
    images = state.data.images
    support = jnp.concatenate([images, images[:, :, ::-1]]) if settings.flip else images
    forward = jax.jit(training.features)
    cotangent = forward(member, support)

    @jax.jit
    def forward_and_backward(member, support, cotangent):
        features, pull_back = jax.vjp(lambda x: training.features(member, x), support)
        return features, pull_back(cotangent)

    def advance(count: int) -> None:
        for _ in range(count):
            jax.block_until_ready((forward(member, batch), forward_and_backward(member, support, cotangent)))

    return advance


def measure(path: Path, data_dir: Path | None, steps: int, rounds: int) -> dict[str, float]:
    """Return seconds a step of the three."""
    stage = compile_plan(load_spec(path).spec).stages[0]
    work = stage.work
    assert isinstance(work, DistillStage)
    settings = work.distill
    assert isinstance(settings, Frepo)
    with tempfile.TemporaryDirectory() as scratch:
        options = RuntimeOptions(data_dir=data_dir, runs_dir=Path(scratch))
        dataset = load_dataset(work.dataset, options.tfds_dir, options.cache_dir)
        learning = prepare(Job(stage, dataset, options))
        ours = pool_training(work, dataset.info)
        plain = replace(ours, trainer=replace(ours.trainer, model=PlainConvNet(ours.trainer.model)))
        inputs, labels = dataset.inputs(dataset.train_images), dataset.train_labels
        contestants = {
            "frepo": compiled_loop(learning),
            "step by step": step_by_step_loop(learning, plain, plain_krr, settings, inputs, labels),
            "same kernels": step_by_step_loop(learning, ours, krr_predict, settings, inputs, labels),
            "floor": bare_arithmetic(learning, ours, settings, jnp.asarray(inputs[: settings.batch_size])),
        }
        seconds: dict[str, list[float]] = {name: [] for name in contestants}
        for advance in contestants.values():
            advance(3)
        for _ in range(rounds):
            for name, advance in contestants.items():
                began = time.perf_counter()
                advance(steps)
                seconds[name].append((time.perf_counter() - began) / steps)
    return {name: statistics.median(values) for name, values in seconds.items()}


def main() -> None:
    """Print a line for each spec."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("specs", nargs="+", type=Path)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    print(ROW.format("spec", "frepo", "step by step", "ratio", "same kernels", "ratio", "floor", "of floor"))
    for path in arguments.specs:
        found = measure(path, arguments.data_dir, arguments.steps, arguments.rounds)
        rates = {name: f"{1 / seconds:.3g}/s" for name, seconds in found.items()}
        ratios = {name: f"{seconds / found['frepo']:.2f}" for name, seconds in found.items()}
        print(
            ROW.format(
                path.stem,
                rates["frepo"],
                rates["step by step"],
                ratios["step by step"],
                rates["same kernels"],
                ratios["same kernels"],
                rates["floor"],
                f"{found['frepo'] / found['floor']:.2f}",
            ),
            flush=True,
        )


if __name__ == "__main__":
    main()

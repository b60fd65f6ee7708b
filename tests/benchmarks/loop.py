"""frepo's loop against loops of the same maths in JAX and PyTorch, and against the floor of the bare arithmetic.

    python tests/benchmarks/loop.py [--data-dir DIR] [--steps 20] [--rounds 5] SPEC...

`script` does what scripts of this kind commonly do: three jitted calls a step (target features, update of the
distilled data, training step of the pool's member), shuffled float64 host batches, the pool on the host, losses
read back every step, the network and the regression as Flax and the formula have them. `same kernels` is that loop
with frepo's network and regression, so that what the loop gains and what they gain can be told apart. `PyTorch` is the
same step in PyTorch, eager and compiled, where it is installed, from the same weights: its gradients are first held
against frepo's. The floor is the bare forward pass of the target batch, forward and backward pass of the support, and
the training step of the pool's member, with frepo's network, jitted alone. They take turns in one process, `rounds`
times `steps` steps each. Printed are the median rates, and how many times as long each takes as frepo: the median of
the rounds, the least and the most; last, how many times as long frepo takes as the floor.
"""

import argparse
import importlib.util
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from turns import Advance, Turns, frepo_loop, take_turns

from frepo.data.load import load_dataset
from frepo.methods.base import Job, Learning
from frepo.methods.frepo.learning import prepare
from frepo.methods.frepo.state import DistillState
from frepo.methods.frepo.step import learned_part, meta_loss, meta_optimizer
from frepo.methods.pool import PoolTraining, pool_training
from frepo.networks.convnets import ConvNet
from frepo.networks.krr import krr_predict
from frepo.networks.losses import centered_one_hot, half_squared_error, label_margin
from frepo.plan import DistillStage, compile_plan
from frepo.runtime import RuntimeOptions
from frepo.spec import Frepo, load_spec

ROW = "{:<16} {:<16} {:>9} {}"


class PlainConvNet(nn.Module):
    """The network of the spec as Flax has it; the parameters have the names and shapes of frepo's."""

    like: ConvNet

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> tuple[jax.Array, jax.Array]:
        like = self.like
        if x.shape[-1] == 1:
            x = jnp.pad(x, ((0, 0), (2, 2), (2, 2), (0, 0)))
        for block in range(like.depth):
            if block > 0 and like.normalization == "batch":
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


def torch_loop(
    learning: Learning,
    training: PoolTraining,
    settings: Frepo,
    images: np.ndarray,
    labels: np.ndarray,
    *,
    compiled: bool,
) -> Advance:
    """Return the loop in PyTorch: data and pool on the device, batches shuffled there."""
    import torch
    from torch_peer import FrepoStep, TorchConvNet, as_tensor

    state: DistillState = jax.device_get(learning.loop.first_state())
    size = len(jax.tree.leaves(state.pool)[0])
    members = [jax.tree.map(lambda leaf, i=i: leaf[i], state.pool) for i in range(size)]
    pool = [TorchConvNet(training.trainer.model, {"params": m.params, "batch_stats": m.batch_stats}) for m in members]
    data, classes = state.data, int(labels.max()) + 1
    step = FrepoStep(pool, as_tensor(data.images), torch.from_numpy(np.array(data.labels)), settings, compiled=compiled)
    inputs = as_tensor(images)
    targets = torch.from_numpy(np.array(centered_one_hot(jnp.asarray(labels), classes)))
    first = slice(settings.batch_size)
    assert_same_gradient(learning, training, step, settings, inputs[first], targets[first])
    position = 0

    def advance(count: int) -> None:
        nonlocal position
        given = learning.loop.inputs(position, count)
        for member in np.asarray(given.member).tolist():
            chosen = torch.randint(len(inputs), (settings.batch_size,))
            step(member, inputs[chosen].contiguous(memory_format=torch.channels_last), targets[chosen])
        position += count

    return advance


def assert_same_gradient(
    learning: Learning, training: PoolTraining, step: Any, settings: Frepo, batch: Any, targets: Any
) -> None:
    """Hold the gradient of the images of the first step in PyTorch against frepo's, from the same weights."""
    state = learning.loop.first_state()
    member = jax.tree.map(lambda leaf: leaf[0], state.pool)
    features = jax.jit(partial(training.features, member))
    f_TxD = features(jnp.asarray(batch.permute(0, 2, 3, 1).numpy()))
    y_TxC = jnp.asarray(targets.numpy())
    given = {"features": features, "f_TxD": f_TxD, "y_TxC": y_TxC, "label_classes": y_TxC.shape[1]}
    ours = jax.grad(partial(meta_loss, settings=settings, **given), has_aux=True)(state.data)[0].images
    theirs = step.gradient(0, batch, targets)[0].permute(0, 2, 3, 1).numpy()
    np.testing.assert_allclose(theirs, ours, rtol=0, atol=2e-2 * float(jnp.abs(ours).max()))


def bare_arithmetic(learning: Learning, training: PoolTraining, settings: Frepo, batch: jax.Array) -> Advance:
    """Return the passes of the target and of the support and a training step of the network, and nothing else."""
    state = learning.loop.first_state()
    member = jax.tree.map(lambda leaf: leaf[0], state.pool)
    images = state.data.images
    support = jnp.concatenate([images, images[:, :, ::-1]]) if settings.flip else images
    forward, train = jax.jit(training.features), jax.jit(training.train)
    cotangent, key = forward(member, support), jax.random.key(0)

    @jax.jit
    def forward_and_backward(member, support, cotangent):
        features, pull_back = jax.vjp(lambda x: training.features(member, x), support)
        return features, pull_back(cotangent)

    def advance(count: int) -> None:
        for _ in range(count):
            passes = forward(member, batch), forward_and_backward(member, support, cotangent)
            jax.block_until_ready((passes, train(member, state.data, key)))

    return advance


def measure(path: Path, data_dir: Path | None, steps: int, rounds: int) -> Turns:
    """Return the times of all of them on the first stage of a spec."""
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
        inputs, labels = dataset.inputs(dataset.train_images), np.asarray(dataset.train_labels)
        contestants = {
            "frepo": frepo_loop(learning.loop),
            "script": step_by_step_loop(learning, plain, plain_krr, settings, inputs, labels),
            "same kernels": step_by_step_loop(learning, ours, krr_predict, settings, inputs, labels),
        }
        if importlib.util.find_spec("torch"):
            for name, compiled in (("PyTorch", False), ("PyTorch compiled", True)):
                contestants[name] = torch_loop(learning, ours, settings, inputs, labels, compiled=compiled)
        contestants["floor"] = bare_arithmetic(learning, ours, settings, jnp.asarray(inputs[: settings.batch_size]))
        return take_turns(contestants, steps, rounds)


def main() -> None:
    """Print a line for each spec and loop."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("specs", nargs="+", type=Path)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    print(ROW.format("spec", "loop", "steps/s", "times as long as frepo (least to most)"))
    for path in arguments.specs:
        turns = measure(path, arguments.data_dir, arguments.steps, arguments.rounds)
        for row in (*turns.beside("frepo"), ("frepo / floor", "", turns.ratio("frepo", "floor"))):
            print(ROW.format(path.stem, *row), flush=True)


if __name__ == "__main__":
    main()

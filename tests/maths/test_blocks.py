"""The scan that a GPU runs gives what the host loop of a CPU gives."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from frepo.data.load import load_dataset
from frepo.engine.blocks import STEPS_OF_HOST_LOOP, BlockRunner, block_steps, branch
from frepo.engine.journal import Journal
from frepo.engine.run import run_steps
from frepo.methods.chosen import with_labels
from frepo.networks.build import build_model
from frepo.networks.losses import centered_one_hot
from frepo.networks.prepare import prepare as prepare_training
from frepo.networks.recipe import examples
from frepo.networks.training import Regime, Trainer, fixed_data, one_by_one, training_loop
from frepo.plan import EvaluateStage
from frepo.runtime import Cadence
from frepo.spec import Conv, Dm, Rcig, Recipe
from frepo.spec import Dataset as DatasetTable

SHAPE = (8, 8, 1)


DM = Dm(method="dm", ipc=1, steps=30, batch_size=16)
RCIG = Rcig(
    method="rcig", ipc=1, steps=30, batch_size=16, inner_steps=2, hessian_steps=2, max_pool_updates=2, flip=True
)


@pytest.fixture
def learning(learning_of):
    return learning_of(0)


def never(_):
    return False


def assert_close(one, other, tolerance):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance), one, other)


def test_a_scan_gives_what_the_host_loop_gives(learning, as_on_a_gpu):
    given = learning.loop.inputs(0, 20)
    assert given.replace.any()
    assert not given.replace.all()
    looped, metrics = BlockRunner(learning.loop.step)(
        learning.loop.first_state(), learning.loop.constants, given, never
    )
    as_on_a_gpu()
    scanned, scanned_metrics = BlockRunner(learning.loop.step)(
        learning.loop.first_state(), learning.loop.constants, given, never
    )
    assert len(metrics) == len(scanned_metrics) == 20
    assert_close(looped.data, scanned.data, 1e-3)
    assert_close(looped.pool.params, scanned.pool.params, 1e-3)
    for one, other in zip(metrics, scanned_metrics, strict=True):
        assert float(one["krr_error"]) == pytest.approx(float(other["krr_error"]), rel=1e-3)


def test_a_scan_of_rcig_gives_what_the_host_loop_gives(learning_of, as_on_a_gpu):
    learning = learning_of(0, RCIG)
    given = learning.loop.inputs(0, 8)
    assert given.replace.any()
    assert not given.replace.all()
    start = learning.loop.first_state()
    looped, metrics = BlockRunner(learning.loop.step)(start, learning.loop.constants, given, never)
    as_on_a_gpu()
    scanned, _ = BlockRunner(learning.loop.step)(learning.loop.first_state(), learning.loop.constants, given, never)
    assert len(metrics) == 8
    assert_close(looped.learned, scanned.learned, 1e-3)
    assert_close(looped.average, scanned.average, 1e-3)
    assert_close(looped.pool.params, scanned.pool.params, 1e-3)
    assert (int(looped.rates.fell), int(looped.rates.rose)) == (int(scanned.rates.fell), int(scanned.rates.rose))
    result = learning.result(scanned)
    assert set(result.further) == {"log_temperature"}
    assert np.all(np.isfinite(result.data.images))


def test_nothing_is_transferred_inside_a_block(learning, as_on_a_gpu):
    as_on_a_gpu()
    runner = BlockRunner(learning.loop.step)
    given = learning.loop.inputs(0, 10)
    state, _ = runner(learning.loop.first_state(), learning.loop.constants, given, never)
    with jax.transfer_guard("disallow"):
        state, metrics = runner(state, learning.loop.constants, given, never)
    assert all(np.isfinite(values["loss"]) for values in metrics)


def test_the_host_loop_stops_where_it_is_told_to(learning):
    given = learning.loop.inputs(0, 10)
    _, metrics = BlockRunner(learning.loop.step)(
        learning.loop.first_state(), learning.loop.constants, given, lambda done: done == 4
    )
    assert len(metrics) == 4
    assert block_steps() == STEPS_OF_HOST_LOOP


def test_networks_trained_together_are_those_trained_alone(as_on_a_gpu, tmp_path, capsys):
    random = np.random.default_rng(1)
    images = jnp.asarray(random.normal(size=(12, *SHAPE)), jnp.float32)
    data = fixed_data(images, centered_one_hot(jnp.arange(12) % 3, 3))
    regime = Regime(15, 5, examples(Recipe(augmentation=("flip", "rotate", "cutout"))))
    trainer = Trainer(build_model(Conv(width=4, depth=2, normalization="batch"), 3, SHAPE), optax.adam(1e-3), SHAPE)

    def train(seeds, name):
        directory = tmp_path / name
        directory.mkdir()
        journal = Journal(directory, name, Cadence(), None, lambda *_: None)
        loop = training_loop(trainer, data, np.arange(12), seeds, regime)
        return one_by_one(run_steps(loop, journal))

    seeds = [(0, 5, 0), (0, 5, 1), (0, 5, 2)]
    together = train(seeds, "together")
    (alone,) = train(seeds[1:2], "alone")
    assert_close(together[1].params, alone.params, 1e-4)
    as_on_a_gpu()
    vectorised = train(seeds, "vectorised")
    for one, other in zip(together, vectorised, strict=True):
        assert_close(one.params, other.params, 1e-3)
        assert_close(one.batch_stats, other.batch_stats, 1e-3)
    assert "15/15" in capsys.readouterr().err


def test_choices_are_python_bools_in_the_host_loop_and_traced_in_a_scan(as_on_a_gpu):
    kinds = []

    def step(state, constants, given):
        number, add, double = given["number"], given["choices"][0], given["choices"][1]
        kinds.append((type(add), type(double)))
        state = branch(add, lambda x: x + number, lambda x: x, state)
        return branch(double, lambda x: 2 * x, lambda x: x, state), {"state": state}

    choices = [np.array([True, False, True, True]), np.array([False, False, False, True])]
    given = {"number": np.arange(1.0, 5.0, dtype=np.float32), "choices": choices}
    looped, _ = BlockRunner(step)(jnp.float32(0), (), given, never)
    assert kinds == [(bool, bool)] * 3  # a program for each combination that comes
    as_on_a_gpu()
    scanned, metrics = BlockRunner(step)(jnp.float32(0), (), given, never)
    assert looped == scanned == 16
    assert len(metrics) == 4
    assert bool not in {kind for pair in kinds[3:] for kind in pair}


def programs(loop):
    """Return the programs of a loop as they are before the compiler sees them: its start, and a step of either kind."""
    runner, state, given = BlockRunner(loop.step), loop.first_state(), loop.inputs(0, 2)
    lowered = [jax.jit(loop.initial).lower(loop.start), *runner.programs_of_block(state, loop.constants, given)]
    return [each.as_text() for each in lowered]


def of_frepo(learning_of, seed, _):
    return learning_of(seed).loop


def of_dm(learning_of, seed, _):
    return learning_of(seed, DM).loop


def on_digits(_, seed, tmp_path):
    """Return the loop of an evaluation by real images, drawn from the seed."""
    dataset = load_dataset(DatasetTable(name="digits"), tmp_path, tmp_path)
    recipe = Recipe(num_models=2, augmentation=("color",), steps=3, warmup_steps=0)
    work = EvaluateStage(
        seed=seed,
        dataset=DatasetTable(name="digits"),
        architecture=Conv(width=4, depth=1),
        recipe=recipe,
        source="random",
        epochs=None,
        validation_fraction=None,
    )
    chosen = np.random.default_rng(seed).permutation(20)
    return prepare_training(work, with_labels(dataset, chosen), dataset, "device").loop


@pytest.mark.parametrize("backend", ["cpu", "gpu"])
@pytest.mark.parametrize("loop_of", [of_frepo, of_dm, on_digits])
def test_one_program_serves_all_seeds(loop_of, backend, learning_of, tmp_path, monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    one, other = (loop_of(learning_of, seed, tmp_path) for seed in (0, 1))
    assert programs(one) == programs(other)
    same = jax.tree.map(np.array_equal, (one.start, one.constants), (other.start, other.constants))
    assert not all(jax.tree.leaves(same))  # what differs is what they are given

"""Stages with equal parts have the same functions, which JAX traces once."""

import jax.numpy as jnp
import numpy as np
import pytest

from frepo.engine import shared
from frepo.engine.blocks import BlockRunner
from frepo.engine.phases import Phase, Phased
from frepo.networks.prepare import prepare, trainer_of
from frepo.plan.work import EvaluateStage
from frepo.spec import Conv, Dataset, Dm, Frepo, RatBptt, Rcig, Recipe

METHODS = (
    Frepo(method="frepo", ipc=1, steps=4, batch_size=16),
    Dm(method="dm", ipc=1, steps=4, batch_size=16),
    Rcig(method="rcig", ipc=1, steps=4, batch_size=16),
    RatBptt(method="rat_bptt", ipc=1, steps=4, batch_size=16),
)


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.method)
def test_seeds_share_the_programs_of_a_method_and_other_settings_do_not(learning_of, method):
    one, other = (learning_of(seed, method).loop for seed in (0, 1))
    assert one.step is other.step
    assert one.initial is other.initial
    changed = learning_of(0, method.model_copy(update={"learning_rate": 0.5})).loop
    assert changed.step is not one.step


def evaluation(recipe, seed):
    dataset, network = Dataset(name="digits"), Conv(width=4, depth=2)
    return EvaluateStage(
        seed=seed,
        dataset=dataset,
        architecture=network,
        recipe=recipe,
        source="full",
        epochs=None,
        validation_fraction=None,
    )


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("on_real_images", [False, True])
def test_seeds_share_the_programs_of_an_evaluation(learning_of, three_classes, on_real_images, mirrored):
    recipe = Recipe(num_models=2, steps=4, batch_size=16, warmup_steps=1, mirrored=mirrored)
    data = None if on_real_images else learning_of(0).start
    one, other = (prepare(evaluation(recipe, seed), data, three_classes, "device").loop for seed in (0, 1))
    assert one.step is other.step
    assert one.initial is other.initial
    assert not np.array_equal(one.start, other.start)


def test_a_step_is_traced_once_however_often_it_runs():
    traced = []

    def step(state, constants, given):
        traced.append(state)
        return state + given, {"sum": state}

    def begin(state, constants, given):
        traced.append(state)
        return state

    phased = Phased(begin, (Phase(lambda carry, *_: carry + 1, lambda *_: 2),), lambda _, carry, *__: (carry, {}))
    for one in (step, phased):
        traced.clear()
        for _ in range(3):
            BlockRunner(one)(jnp.float32(0), (), np.ones(2, np.float32), lambda _: False)
        assert len(traced) == 1
    shared.forget()
    BlockRunner(step)(jnp.float32(0), (), np.ones(2, np.float32), lambda _: False)
    assert len(traced) == 2


def test_a_trainer_follows_from_network_recipe_and_length(three_classes):
    work, info = evaluation(Recipe(steps=4, warmup_steps=1), 0), three_classes.info
    assert trainer_of(work, info, 4) is trainer_of(evaluation(Recipe(steps=4, warmup_steps=1), 1), info, 4)
    assert trainer_of(work, info, 4) is not trainer_of(work, info, 5)

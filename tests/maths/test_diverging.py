"""Numbers that go bad in each of the methods that learn, and in networks that are trained."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from frepo.engine.journal import Journal
from frepo.engine.run import run_steps
from frepo.errors import DivergedError
from frepo.networks.build import build_model
from frepo.networks.training import Regime, Trainer, fixed_data, training_loop
from frepo.runtime import Cadence
from frepo.spec import Conv, Dm, Frepo, RatBptt, Rcig

SMALL = {"ipc": 1, "steps": 4}
METHODS = (
    (Frepo(method="frepo", batch_size=16, **SMALL), "distill.learning_rate or a larger distill.reg helps"),
    (Dm(method="dm", batch_size=16, **SMALL), "distill.learning_rate helps"),
    (
        Rcig(method="rcig", batch_size=16, inner_steps=2, hessian_steps=2, max_pool_updates=1, **SMALL),
        "distill.learning_rate or a larger distill.l2 helps",
    ),
    (
        RatBptt(method="rat_bptt", batch_size=16, total=2, window=1, **SMALL),
        "distill.learning_rate or distill.inner_learning_rate helps",
    ),
)
each_method = pytest.mark.parametrize(("method", "remedy"), METHODS, ids=lambda value: getattr(value, "method", ""))
TAKE_LONG = ("rcig", "rat_bptt")
"""To compile."""


def journal_in(directory) -> Journal:
    directory.mkdir()
    return Journal(directory, "some-stage", Cadence(steps=1), 1, lambda *_: None)


def spoilt(start, value):
    """Return the start of a loop with one bad number among its images."""

    def spoil(path, leaf):
        if "images" not in jax.tree_util.keystr(path):
            return leaf
        leaf = np.array(leaf)
        leaf.flat[0] = value
        return leaf

    return jax.tree_util.tree_map_with_path(spoil, start)


@each_method
def test_a_bad_number_among_the_images_ends_each_method_at_its_first_step(learning_of, tmp_path, long, method, remedy):
    loop = learning_of(0, method).loop
    assert loop.remedy == f"A smaller {remedy}"
    if method.method in TAKE_LONG and not long:
        return
    bad = replace(loop, start=spoilt(loop.start, np.inf), found=None)
    with pytest.raises(DivergedError) as error:
        run_steps(bad, journal_in(tmp_path / "stage"))
    assert "at step 0" in str(error.value) or "after 1 steps" in str(error.value)
    assert str(error.value).endswith(f"(no state was saved before). A smaller {remedy}")
    assert not list((tmp_path / "stage").glob("state/*"))


@each_method
def test_a_batch_in_which_classes_are_missing_is_as_good_as_any(learning_of, tmp_path, long, method, remedy):
    if method.method in TAKE_LONG and not long:
        pytest.skip("takes minutes: FREPO_TEST_LONG=1")
    alone = method.model_copy(update={"batch_size": 1})  # one image: of the two other classes there is none
    run_steps(replace(learning_of(0, alone).loop, found=None), journal_in(tmp_path / "stage"))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_networks_that_are_trained_overflow_in_words(tmp_path, precision):
    shape = (8, 8, 1)
    model = build_model(Conv(width=2, depth=1, precision=precision), 3, shape)
    trainer = Trainer(model, optax.sgd(1e30), shape)
    data = fixed_data(jnp.ones((6, *shape)), jnp.eye(3)[jnp.arange(6) % 3])
    loop = training_loop(trainer, data, np.arange(6), [(0, 1), (0, 2)], Regime(9, 6))
    with pytest.raises(DivergedError, match="A smaller learning_rate helps") as error:
        run_steps(loop, journal_in(tmp_path / "stage"))
    assert ('precision = "float32" in place of bfloat16' in str(error.value)) == (precision == "bfloat16")

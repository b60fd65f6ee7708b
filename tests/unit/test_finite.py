"""A computation whose numbers go bad ends at that step, and no such state is saved, shown or used."""

import jax.numpy as jnp
import numpy as np
import pytest

from frepo.engine.journal import Journal
from frepo.engine.loop import Loop, Milestone
from frepo.engine.run import run_steps
from frepo.errors import DivergedError
from frepo.runtime import Cadence

STEPS = 25


def journal_in(directory) -> Journal:
    directory.mkdir(exist_ok=True)
    return Journal(directory, "some-stage", Cadence(steps=4), 10, lambda *_: None)


def loop(*, bad_state=None, bad_metric=None, value=np.nan, seen=(), **fields) -> Loop:
    """Return a loop that counts its steps; in steps from `bad_state` or `bad_metric` on, a number of either is bad."""

    def step(state, constants, given):
        number, bad_state, bad_metric = given
        total = {"sum": state["sum"] + 1, "kept": jnp.where(bad_state, value, state["kept"])}
        return total, {"loss": jnp.where(bad_metric, value, number)}

    def inputs(first, count):
        steps = np.arange(first, first + count)
        bad = [np.zeros(count) if at is None else (steps >= at).astype(np.float32) for at in (bad_state, bad_metric)]
        return (steps.astype(np.float32), *bad)

    def call(state, done):
        seen.append(done)
        return state, {}

    start = {"sum": np.int32(0), "kept": np.float32([1, 2])}
    milestones = (Milestone((5, 10, 15, STEPS), call),)
    initial = lambda start: {name: jnp.asarray(value) for name, value in start.items()}  # noqa: E731
    return Loop(step, initial, start, (), inputs, STEPS, milestones=milestones, **fields)


def states(directory):
    return sorted(int(path.stem) for path in (directory / "state").glob("*.state"))


@pytest.mark.parametrize(("value", "shown"), [(np.nan, "nan"), (np.inf, "inf"), (-np.inf, "-inf")])
def test_a_metric_that_is_not_finite_ends_the_loop_at_its_step_though_it_is_not_logged(tmp_path, value, shown):
    with pytest.raises(DivergedError) as error:
        run_steps(loop(bad_metric=13, value=value, seen=[]), journal_in(tmp_path / "stage"))
    assert str(error.value) == (
        f"some-stage: loss is {shown} at step 13; the computation has diverged (the state saved after 12 steps is "
        "good). A smaller learning_rate helps"
    )
    assert states(tmp_path / "stage") == [8, 12]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_state_that_is_not_finite_is_never_saved_though_all_metrics_are(tmp_path, value):
    with pytest.raises(DivergedError) as error:
        run_steps(loop(bad_state=9, value=value, seen=(seen := [])), journal_in(tmp_path / "stage"))
    assert "['kept'] of the state is not finite after 10 steps" in str(error.value)
    assert "the state saved after 8 steps is good" in str(error.value)
    assert states(tmp_path / "stage") == [4, 8]
    assert seen == [5]  # nor is it scored or shown


def test_a_state_that_goes_bad_between_milestones_is_found_where_it_would_be_saved(tmp_path):
    with pytest.raises(DivergedError, match="after 20 steps"):
        run_steps(loop(bad_state=17, seen=(seen := [])), journal_in(tmp_path / "stage"))
    assert states(tmp_path / "stage") == [12, 16]
    assert seen == [5, 10, 15]


def test_a_state_that_the_last_step_spoils_is_no_result(tmp_path):
    with pytest.raises(DivergedError, match="after 25 steps"):
        run_steps(loop(bad_state=STEPS - 1, seen=(seen := [])), journal_in(tmp_path / "stage"))
    assert seen == [5, 10, 15]
    spoilt = loop(bad_state=STEPS - 1)
    with pytest.raises(DivergedError, match="after 25 steps"):
        run_steps(Loop(**{**vars(spoilt), "milestones": ()}), journal_in(tmp_path / "other"))


def test_before_a_state_was_saved_it_says_so_and_names_the_remedy(tmp_path):
    with pytest.raises(DivergedError) as error:
        run_steps(
            loop(bad_metric=0, seen=[], precision="bfloat16", remedy="A smaller step helps"),
            journal_in(tmp_path / "stage"),
        )
    assert str(error.value) == (
        "some-stage: loss is nan at step 0; the computation has diverged (no state was saved before). A smaller step "
        'helps, and so may precision = "float32" in place of bfloat16'
    )


def test_the_same_again_goes_on_from_the_good_state_and_ends_at_the_same_step(tmp_path):
    for _ in range(2):
        with pytest.raises(DivergedError, match=r"loss is nan at step 13;.*\(the state saved after 12 steps is good\)"):
            run_steps(loop(bad_metric=13, seen=[]), journal_in(tmp_path / "stage"))
    state = run_steps(loop(seen=[]), journal_in(tmp_path / "stage"))
    assert state["kept"].tolist() == [1, 2]

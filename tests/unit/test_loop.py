"""The loop between the disk and signals: what is saved when, and what a resumed one does again."""

import json
import os
import signal

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from frepo.engine.journal import Journal
from frepo.engine.loop import Loop, Milestone
from frepo.engine.run import run_steps
from frepo.errors import FrepoError, Interrupted
from frepo.networks.build import build_model
from frepo.networks.training import Regime, Trainer, fixed_data, training_loop
from frepo.runtime import Cadence
from frepo.signals import raise_if_stopping, stop_on_signals
from frepo.spec import Conv

STEPS = 25


def journal_in(directory, **options) -> Journal:
    directory.mkdir(exist_ok=True)
    on_saved = options.pop("on_saved", lambda *_: None)
    return Journal(directory, "some-stage", options.pop("every", Cadence()), 5, on_saved, **options)


def loop_that_is_scored(score) -> Loop:
    """Return a loop that adds up numbers, scored after 10 steps and at the end."""

    def step(state, constants, given):
        return state + given, {"sum": state}

    def inputs(first, count):
        return np.arange(first, first + count, dtype=np.float32)

    def call(state, done):
        return state, {"score": score(float(state), done)}

    return Loop(step, jnp.float32, np.float32(0), (), inputs, STEPS, milestones=(Milestone((10, STEPS), call),))


def rows(directory):
    return [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]


def states(directory):
    return sorted(int(path.stem) for path in (directory / "state").glob("*.state"))


@pytest.mark.parametrize("at", [10, STEPS])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGINT])
def test_a_signal_while_networks_are_scored_saves_the_state_and_nothing_is_told_twice(tmp_path, at, number):
    straight = run_steps(loop_that_is_scored(lambda state, _: state), journal_in(tmp_path / "straight"))

    def stopped(state, done):
        if done == at:
            os.kill(os.getpid(), number)
            raise_if_stopping()
        return state

    journal = journal_in(tmp_path / "stopped")
    with stop_on_signals(), pytest.raises(Interrupted, match=number.name), journal.saving_where_stopped():
        run_steps(loop_that_is_scored(stopped), journal)
    assert states(journal.directory) == [at]
    assert journal.saved_step == journal.last_step == at
    scored = []
    again = journal_in(tmp_path / "stopped")
    state = run_steps(loop_that_is_scored(lambda state, done: scored.append(done) or state), again)
    assert again.first_step == at
    assert scored == sorted({at, STEPS})
    assert state == straight
    assert rows(tmp_path / "stopped") == rows(tmp_path / "straight")


def test_a_signal_after_the_last_step_saves_it_too(tmp_path):
    journal = journal_in(tmp_path / "stage")
    run_steps(loop_that_is_scored(lambda state, _: state), journal)
    assert not (journal.directory / "state").exists()
    with pytest.raises(Interrupted), journal.saving_where_stopped():
        raise_if_stopping("another process")
    assert states(journal.directory) == [STEPS]


def test_a_failure_is_not_said_to_have_saved_what_it_has_not(tmp_path):
    def fails(state, done):
        raise OSError("no space left")

    journal = journal_in(tmp_path / "stage", every=Cadence(steps=4))
    with pytest.raises(OSError, match="no space"), journal.saving_where_stopped():
        run_steps(loop_that_is_scored(fails), journal)
    assert (journal.saved_step, journal.last_step) == (8, 10)
    assert states(journal.directory) == [4, 8]


@pytest.mark.parametrize(("saved", "recorded", "wanted"), [(0, 20, [0]), (10, 0, [10]), (0, 0, []), (10, 10, [])])
def test_a_record_of_another_step_than_is_saved_is_put_right_before_the_first_step(tmp_path, saved, recorded, wanted):
    if saved:
        journal_in(tmp_path / "stage").save(saved, STEPS, jnp.float32(45))
    said = []
    journal = journal_in(tmp_path / "stage", recorded_step=recorded, on_saved=lambda *steps: said.append(steps))
    run_steps(loop_that_is_scored(lambda state, _: state), journal)
    assert said == [(step, STEPS) for step in wanted]
    assert journal.steps == STEPS


def test_a_state_saved_under_other_flags_is_refused_and_left(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_enable_fast_math=true --xla_dump_to=/tmp/a")
    journal = journal_in(tmp_path / "stage")
    journal.save(10, STEPS, jnp.float32(45))
    like = jax.eval_shape(lambda: jnp.float32(0))
    monkeypatch.setenv("XLA_FLAGS", " --xla_dump_to=/tmp/b  --xla_cpu_enable_fast_math=true")
    assert journal_in(tmp_path / "stage").restore(like, STEPS) == (10, 45)
    monkeypatch.delenv("XLA_FLAGS")
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "1")
    with pytest.raises(FrepoError) as error:
        journal_in(tmp_path / "stage").restore(like, STEPS)
    assert "NVIDIA_TF32_OVERRIDE was not set, is 1" in str(error.value)
    assert "XLA_FLAGS was --xla_cpu_enable_fast_math=true, is not set" in str(error.value)
    assert "--fresh" in str(error.value)
    assert states(tmp_path / "stage") == [10]
    assert capsys.readouterr().err == ""


def test_networks_are_saved_in_one_form_on_every_backend(tmp_path, monkeypatch):
    shape = (4, 4, 2)
    images = jnp.asarray(np.random.default_rng(0).normal(size=(6, *shape)), jnp.float32)
    trainer = Trainer(build_model(Conv(width=2, depth=1), 3, shape), optax.adam(1e-3), shape)

    def loop():
        return training_loop(
            trainer, fixed_data(images, jnp.eye(3)[jnp.arange(6) % 3]), np.arange(6), [(0, 1), (0, 2)], Regime(2, 6)
        )

    on_cpu = loop()
    networks = on_cpu.first_state()
    assert isinstance(networks, tuple)
    journal = journal_in(tmp_path / "stage")
    journal.save(2, 2, on_cpu.saved_form.pack(networks))
    back = run_steps(loop(), journal_in(tmp_path / "stage"))
    assert jax.tree.structure(back) == jax.tree.structure(networks)
    jax.tree.map(np.testing.assert_array_equal, back, networks)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    side_by_side = run_steps(loop(), journal_in(tmp_path / "stage"))
    assert not isinstance(side_by_side, tuple)
    jax.tree.map(lambda both, *each: np.testing.assert_array_equal(both, np.stack(each)), side_by_side, *networks)

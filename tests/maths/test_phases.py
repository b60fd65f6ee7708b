"""A step of phases computes the same from the host, phase by phase, as in one program, and is counted as often."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from frepo.engine.blocks import BlockRunner
from frepo.engine.cost import measure
from frepo.engine.loop import Loop
from frepo.engine.phases import Phase, Phased


def never(_):
    return False


def grown(matrix, constants, given, number):
    return matrix @ constants + number + given


STEP = Phased(
    lambda state, _, given: state + given,
    (
        Phase(grown, lambda _, given: given),
        Phase(lambda carry, *_: carry + 1, lambda carry, _: jnp.int32(carry[0, 0] > 0)),
        Phase(grown, lambda *_: jnp.int32(2)),
    ),
    lambda state, carry, *_: (state + carry, {"sum": jnp.sum(carry)}),
)
SIZE = 8
START, CONSTANTS = jnp.zeros((SIZE, SIZE)), jnp.eye(SIZE) / 2


def test_phases_called_by_the_host_are_those_of_one_program(as_on_a_gpu):
    given = np.array([0, 3, 1], np.int32)
    looped, metrics = BlockRunner(STEP)(jnp.copy(START), CONSTANTS, given, never)
    as_on_a_gpu()
    scanned, same = BlockRunner(STEP)(jnp.copy(START), CONSTANTS, given, never)
    np.testing.assert_allclose(looped, scanned, rtol=1e-6)
    assert [float(each["sum"]) for each in metrics] == pytest.approx([float(each["sum"]) for each in same])


def test_a_step_is_stopped_between_its_phases_and_leaves_its_state():
    asked = []

    def stopping(done):
        asked.append(done)
        return len(asked) == 4

    state, metrics = BlockRunner(STEP)(START, CONSTANTS, np.array([3, 3], np.int32), stopping)
    assert (len(metrics), len(asked)) == (0, 4)
    np.testing.assert_array_equal(state, START)


def test_operations_are_counted_as_often_as_a_phase_is_repeated(as_on_a_gpu):
    product = 2 * SIZE**3
    runner = BlockRunner(STEP)
    few, many = (runner.flops_per_step(START, CONSTANTS, np.array([times], np.int32)) for times in (1, 11))
    assert 10 * product <= many - few <= 10 * (product + 3 * SIZE**2)
    as_on_a_gpu()
    assert runner.flops_per_step(START, CONSTANTS, np.array([11], np.int32)) == many


def test_the_cost_is_that_of_typical_steps():
    loop = Loop(
        STEP,
        lambda start: start,
        START,
        CONSTANTS,
        lambda _, count: np.zeros(count, np.int32),
        100,
        typical=lambda count: np.full(count, 11, np.int32),
    )
    cost = measure(loop, 0)
    runner = BlockRunner(STEP)
    assert cost.flops_per_step == runner.flops_per_step(START, CONSTANTS, np.array([11], np.int32))
    assert cost.seconds_per_step > 0
    assert cost.peak_device_bytes >= START.nbytes
    assert loop.block_steps == 1


def test_all_phases_with_one_body_share_its_program():
    traced = []

    def body(carry, *_):
        traced.append(1)
        return carry + 1

    once = Phase(body, lambda *_: jnp.int32(1))
    step = Phased(lambda state, *_: state, (once, once), lambda _, carry, *__: (carry, {}))
    state, _ = BlockRunner(step)(jnp.zeros(3), (), np.zeros(2, np.int32), never)
    np.testing.assert_array_equal(jax.device_get(state), 4)
    assert len(traced) == 1

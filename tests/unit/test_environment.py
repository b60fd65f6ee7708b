"""What changes numbers and stands in no spec."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from frepo.engine.environment import PINNED, must_go_on_from, numerics, pinned
from frepo.errors import FrepoError

OTHERS = {
    "jax_enable_x64": True,
    "jax_default_prng_impl": "rbg",
    "jax_threefry_partitionable": False,
    "jax_default_matmul_precision": "bfloat16",
    "jax_numpy_dtype_promotion": "strict",
    "jax_numpy_rank_promotion": "raise",
    "jax_random_seed_offset": 7,
    "jax_softmax_custom_jvp": True,
    "jax_disable_jit": True,
}


@pytest.fixture
def others():
    before = {name: jax.config.values[name] for name in OTHERS}
    for name, value in OTHERS.items():
        jax.config.update(name, value)
    yield
    for name, value in before.items():
        jax.config.update(name, value)


def drawn() -> bytes:
    """Return numbers that each of the settings would change."""
    x = jax.random.normal(jax.random.key(3), (5, 3)) + jnp.float32(1) / 3 + jnp.arange(3)
    return np.asarray(jax.nn.softmax(x @ x.T + jnp.ones(5))).tobytes()


def test_pinned_settings_are_those_that_nothing_has_changed():
    assert {name: value for name, value in PINNED.items() if jax.config.values.get(name, value) != value} == {}
    assert set(OTHERS) <= set(PINNED)


def test_settings_of_the_caller_change_nothing_and_are_his_again_after(others, request):
    with pinned():
        found = drawn()
        inside = {name: jax.config.values[name] for name in OTHERS}
    assert inside == {name: PINNED[name] for name in OTHERS}
    assert {name: jax.config.values[name] for name in OTHERS} == OTHERS
    for name in OTHERS:
        jax.config.update(name, PINNED[name])
    assert drawn() == found


def test_a_setting_that_is_held_by_a_context_manager_is_an_error_and_leaves_no_trace():
    with jax.enable_x64(True), pytest.raises(FrepoError, match="jax_enable_x64 is held at True"), pinned():
        pass
    assert not jax.config.values["jax_enable_x64"]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("--xla_a=1 --xla_b", "--xla_b  --xla_a=1", True),
        ("--xla_a=1", "--xla_a=2 --xla_a=1", True),
        ("--xla_a=1", "--xla_a=2", False),
        ("--xla_a=1", "", False),
        ("--xla_dump_to=x --xla_gpu_cuda_data_dir=y --xla_force_host_platform_device_count=1", "", True),
        ("FILE", "--xla_a=1", True),
    ],
    ids=["order", "the last counts", "value", "none", "harmless", "file"],
)
def test_flags_that_change_numbers_are_told_apart(monkeypatch, tmp_path, one, other, same):
    (tmp_path / "flags").write_text("--xla_a=1\n")
    found = []
    for flags in (one, other):
        monkeypatch.setenv("XLA_FLAGS", flags.replace("FILE", str(tmp_path / "flags")))
        found.append(numerics())
    assert (found[0] == found[1]) is same


def test_another_device_or_version_is_said_and_gone_on_with(tmp_path, capsys):
    must_go_on_from(numerics(), tmp_path)
    must_go_on_from({}, tmp_path)
    assert capsys.readouterr().err == ""
    must_go_on_from({**numerics(), "devices": "8 x H100", "jax": "0.1"}, tmp_path)
    said = capsys.readouterr().err
    assert "jax was 0.1, is " in said
    assert "devices was 8 x H100, is 1 x " in said
    assert "rounding differs from here on" in said

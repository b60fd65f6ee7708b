"""Which library computes convolutions on a CPU, and who may choose another."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from frepo.engine import kernels
from frepo.engine.devices import compiled
from frepo.engine.environment import numerics


@pytest.fixture
def asked_anew():
    kernels.compiler_options.cache_clear()
    yield
    kernels.compiler_options.cache_clear()


def convolve(x, kernel):
    return jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))


def test_eigen_convolves_unless_the_environment_chooses(asked_anew, monkeypatch):
    random = np.random.default_rng(0)
    x, kernel = (jnp.asarray(random.standard_normal(s), jnp.float32) for s in ((4, 8, 8, 32), (3, 3, 32, 64)))
    program = compiled(convolve).lower(x, kernel).compile()
    assert "ynn" not in program.as_text()
    assert numerics()[kernels.BY_YNNPACK] == kernels.SUMS_ALONE
    np.testing.assert_allclose(program(x, kernel), jax.jit(convolve)(x, kernel), rtol=1e-4, atol=1e-4)
    kernels.compiler_options.cache_clear()
    monkeypatch.setenv("XLA_FLAGS", f"--{kernels.BY_YNNPACK}=LIBRARY_FUSION_TYPE_INDIVIDUAL_CONVOLUTION")
    assert kernels.compiler_options() == {}
    assert kernels.BY_YNNPACK not in numerics()


def test_a_compiler_without_the_option_gets_none(asked_anew, monkeypatch):
    monkeypatch.setattr(kernels, "BY_YNNPACK", "xla_cpu_no_such_option")
    assert kernels.compiler_options() == {}

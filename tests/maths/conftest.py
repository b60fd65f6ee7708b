"""What the tests of the maths share."""

import jax
import pytest


@pytest.fixture
def compile_quickly():
    """Let XLA optimise little in this process: for tests that compile longer than they run."""
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


@pytest.fixture
def as_on_a_gpu(monkeypatch):
    """Let the program take the way of a GPU, on this machine's CPU."""
    return lambda: monkeypatch.setattr(jax, "default_backend", lambda: "gpu")

"""A support computed in chunks: the same gradient in less memory."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from frepo.methods.base import DistilledData
from frepo.methods.frepo.step import meta_loss
from frepo.methods.pool import PoolTraining
from frepo.networks.build import build_model
from frepo.networks.chunks import in_chunks
from frepo.networks.training import Trainer
from frepo.spec import Conv, Frepo

SHAPE = (8, 8, 3)


def network(width, shape):
    trainer = Trainer(build_model(Conv(width=width, depth=2), 3, shape), optax.adam(1e-3), shape)
    member = trainer.fresh(jax.random.key(0))
    return lambda images: PoolTraining(trainer, 10).features(member, images)


def gradient(features, chunk, n=46, shape=SHAPE):
    random = np.random.default_rng(0)
    data = DistilledData(*(jnp.asarray(random.normal(size=size), jnp.float32) for size in ((n, *shape), (n, 3))))
    target = features(jnp.asarray(random.normal(size=(30, *shape)), jnp.float32))
    labels = jnp.asarray(random.normal(size=(30, 3)), jnp.float32)
    settings = Frepo(method="frepo", ipc=2, flip=True, reg=1e-2)

    def loss(data):
        return meta_loss(data, lambda images: in_chunks(features, images, chunk), target, labels, 3, settings)[0]

    return jax.jit(jax.grad(loss)).lower(data), data


@pytest.mark.parametrize("backend", ["cpu", "gpu"])
@pytest.mark.parametrize("chunk", [1, 7, 46, 91])
def test_chunks_give_the_gradient_of_the_whole(chunk, backend, monkeypatch):
    features = network(8, SHAPE)
    lowered, data = gradient(features, 92)
    whole = lowered.compile()(data)
    monkeypatch.setattr(jax, "default_backend", lambda: backend)  # the way of a GPU, on this machine's CPU
    lowered, data = gradient(features, chunk)
    cut = lowered.compile()(data)
    for one, other in zip(jax.tree.leaves(whole), jax.tree.leaves(cut), strict=True):
        # Convolutions of other sizes round otherwise, and the regression amplifies it.
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-3 * np.abs(one).max())


@pytest.mark.parametrize("backend", ["cpu", "gpu"])
def test_chunks_bound_the_memory(backend, monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    shape = (16, 16, 3)

    def temporary(chunk):
        lowered, _ = gradient(network(32, shape), chunk, n=200, shape=shape)
        return lowered.compile().memory_analysis().temp_size_in_bytes

    assert temporary(50) < 0.5 * temporary(400)

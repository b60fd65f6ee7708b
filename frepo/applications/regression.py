"""Prediction by kernel ridge regression on the features of a trained network."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from frepo.engine.devices import compiled, in_shares, place
from frepo.engine.shared import shared
from frepo.errors import FrepoError
from frepo.networks.chunks import in_chunks
from frepo.networks.krr import FULL, krr_weights
from frepo.networks.training import Network, Trainer


def regression_weights(
    trainer: Trainer, network: Network, images: Any, labels: Any, reg: float, chunk: int
) -> jax.Array:
    """Return the weights [d, C] of the regression from images [n, h, w, c] with centred labels [n, C].

    Raises:
        FrepoError: the kernel has no Cholesky factor with this ridge.
    """
    found = compiled(_weights(trainer, reg, chunk))(network, *place((images, labels)))
    if not np.isfinite(jax.device_get(found)).all():
        raise FrepoError(
            f"kernel ridge regression from {len(images)} images on {found.shape[0]} features has no solution in "
            f"float32 with krr_reg = {reg:g}; a larger krr_reg helps"
        )
    return found


@shared
def _weights(trainer: Trainer, reg: float, chunk: int) -> Callable[[Network, jax.Array, jax.Array], jax.Array]:
    def weights(network: Network, images: jax.Array, labels: jax.Array) -> jax.Array:
        def features(x: jax.Array) -> jax.Array:
            return in_shares(lambda share: trainer.features(network, share), x)

        return krr_weights(in_chunks(features, images, chunk), labels, reg)

    return weights


@shared
def regression(trainer: Trainer) -> Callable[[tuple[Network, jax.Array], jax.Array], jax.Array]:
    """Return ((network, weights [d, C]), images [n, h, w, c]) -> predicted labels [n, C]."""
    return partial(_predict, trainer)


def _predict(trainer: Trainer, fitted: tuple[Network, jax.Array], images: jax.Array) -> jax.Array:
    network, weights = fitted
    return jnp.matmul(trainer.features(network, images), weights, precision=FULL)

"""Shapes that annotations state are checked while tests run."""

import jax
import jax.numpy as jnp
import pytest
from jaxtyping import TypeCheckError

from frepo.networks.build import build_model
from frepo.networks.krr import krr_predict
from frepo.networks.losses import half_squared_error
from frepo.networks.siamese import siamese
from frepo.spec import Conv


def test_labels_of_another_number_of_images_are_refused():
    with pytest.raises(TypeCheckError, match="y_SxC"):
        krr_predict(jnp.zeros((5, 4)), jnp.zeros((3, 4)), jnp.zeros((2, 6)), 1e-6)


def test_labels_that_would_be_broadcast_are_refused_while_a_program_is_traced():
    with pytest.raises(TypeCheckError, match="target"):
        jax.eval_shape(half_squared_error, jnp.zeros((5, 3)), jnp.zeros((1, 3)))


def test_images_without_channels_are_refused_by_a_network_and_by_augmentation():
    model = build_model(Conv(width=4, depth=1), 3, (8, 8, 1))
    with pytest.raises(TypeCheckError, match="n h w c"):
        jax.eval_shape(lambda: model.init(jax.random.key(0), jnp.zeros((2, 8, 8)), train=False))
    with pytest.raises(TypeCheckError, match="n h w c"):
        siamese(("flip",), jax.random.key(0), jnp.zeros((2, 8, 8)))

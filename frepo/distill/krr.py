"""Kernel ridge regression on features, in full float32 whatever the networks run in."""

import jax
import jax.numpy as jnp
from jax.scipy.linalg import cho_factor, cho_solve

FULL = jax.lax.Precision.HIGHEST


def krr_predict(f_TxD: jax.Array, f_SxD: jax.Array, y_SxC: jax.Array, reg: float) -> jax.Array:
    """Predict the targets' labels [T, C] by ridge regression from the support.

    K_TS (K_SS + reg * tr(K_SS) / S * I)^-1 y_S with the linear kernel of the features (Zhou et al. 2022, equation 4);
    the ridge is a share of the mean diagonal, so it does not depend on the scale of the features. Cholesky solve.
    K_TS = f_T f_S^T is never formed: f_T (f_S^T a) is the same as (f_T f_S^T) a and needs S/C times less arithmetic.
    """
    f_TxD, f_SxD, y_SxC = (x.astype(jnp.float32) for x in (f_TxD, f_SxD, y_SxC))
    k_SxS = jnp.matmul(f_SxD, f_SxD.T, precision=FULL)
    ridge = reg * jnp.trace(k_SxS) / len(k_SxS)
    factor = cho_factor(k_SxS + ridge * jnp.eye(len(k_SxS), dtype=jnp.float32), lower=True)
    weights_DxC = jnp.matmul(f_SxD.T, cho_solve(factor, y_SxC), precision=FULL)
    return jnp.matmul(f_TxD, weights_DxC, precision=FULL)

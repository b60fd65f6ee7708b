"""Kernel ridge regression on features, in full float32 at any precision of the networks."""

import jax
import jax.numpy as jnp
from jax.scipy.linalg import cho_factor, cho_solve
from jaxtyping import Array, Float, Float32

FULL = jax.lax.Precision.HIGHEST


def krr_weights(f_SxD: Float[Array, "S D"], y_SxC: Float[Array, "S C"], reg: float) -> Float32[Array, "D C"]:
    """Return the weights [D, C] of ridge regression from the support: f_S^T (K_SS + reg * tr(K_SS) / S * I)^-1 y_S.

    K_SS is the linear kernel of the features (Zhou et al. 2022, equation 4); the ridge is a share of its mean diagonal,
    so it does not depend on the scale of the features. Cholesky solve.
    """
    f_SxD, y_SxC = f_SxD.astype(jnp.float32), y_SxC.astype(jnp.float32)
    k_SxS = jnp.matmul(f_SxD, f_SxD.T, precision=FULL)
    ridge = reg * jnp.trace(k_SxS) / len(k_SxS)
    factor = cho_factor(k_SxS + ridge * jnp.eye(len(k_SxS), dtype=jnp.float32), lower=True)
    return jnp.matmul(f_SxD.T, cho_solve(factor, y_SxC), precision=FULL)


def krr_predict(
    f_TxD: Float[Array, "T D"], f_SxD: Float[Array, "S D"], y_SxC: Float[Array, "S C"], reg: float
) -> Float32[Array, "T C"]:
    """Predict the targets' labels [T, C] by ridge regression from the support.

    K_TS = f_T f_S^T is never formed: f_T (f_S^T a) equals (f_T f_S^T) a and needs S/C times less arithmetic.
    """
    return jnp.matmul(f_TxD.astype(jnp.float32), krr_weights(f_SxD, y_SxC, reg), precision=FULL)

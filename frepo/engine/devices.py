"""All devices of an experiment as one mesh: replicated arrays and shares of arrays."""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from jax.stages import Wrapped

from frepo.engine.kernels import compiler_options

T = TypeVar("T")
SHARES = "shares"


@lru_cache(maxsize=1)
def mesh() -> Mesh | None:
    """Return the mesh of all devices of all processes, or None if there is only one."""
    count = jax.device_count()
    return jax.make_mesh((count,), (SHARES,), axis_types=(AxisType.Auto,)) if count > 1 else None


def place(tree: T) -> T:
    """Put a pytree of arrays on the device; with several devices, a full copy on each."""
    everywhere = mesh()
    if everywhere is None:
        return jax.device_put(tree)
    if jax.process_count() == 1:
        return jax.device_put(tree, NamedSharding(everywhere, P()))
    return jax.tree.map(partial(_place_leaf, NamedSharding(everywhere, P())), tree)


def _place_leaf(sharding: NamedSharding, leaf: Any) -> jax.Array:
    if isinstance(leaf, jax.Array) and not leaf.is_fully_addressable:
        return leaf
    return jax.make_array_from_callback(np.shape(leaf), sharding, np.asarray(leaf).__getitem__)


def compiled(function: Callable[..., Any], **options: Any) -> Wrapped:
    """Return `jax.jit(function)` with its results replicated on all devices."""
    everywhere = mesh()
    placed = None if everywhere is None else NamedSharding(everywhere, P())
    return jax.jit(function, out_shardings=placed, compiler_options=compiler_options(), **options)


def in_shares(function: Callable[[jax.Array], jax.Array], x: jax.Array) -> jax.Array:
    """Return `function(x)` inside a compiled program, each device computing its share of the leading axis.

    `function` must treat the entries of the leading axis independently: if they cannot be shared out evenly, zeros are
    appended, and the surplus is cut off the result.
    """
    everywhere = mesh()
    if everywhere is None:
        return function(x)
    missing = -len(x) % everywhere.size
    padded = jnp.pad(x, ((0, missing), *((0, 0) for _ in x.shape[1:])))
    shared = jax.lax.with_sharding_constraint(padded, NamedSharding(everywhere, P(SHARES)))
    return function(shared)[: len(x)]


def share_evenly(x: jax.Array) -> jax.Array:
    """Return x inside a compiled program, cut into shares on its leading axis if that is even."""
    everywhere = mesh()
    if everywhere is None or len(x) % everywhere.size:
        return x
    return jax.lax.with_sharding_constraint(x, NamedSharding(everywhere, P(SHARES)))

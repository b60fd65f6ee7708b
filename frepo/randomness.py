"""JAX keys from seeds."""

import jax


def key_of(seed: tuple[int, ...]) -> jax.Array:
    """Return the key of (spec's seed, stream, ...): each further number is folded in."""
    key = jax.random.key(seed[0])
    for number in seed[1:]:
        key = jax.random.fold_in(key, number)
    return key

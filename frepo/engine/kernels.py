"""Which library computes convolutions and matrix products on a CPU."""

import os
from functools import cache
from typing import Any

import jax

BY_YNNPACK = "xla_cpu_experimental_ynn_fusion_type"
"""XLA's option that says what YNNPACK computes."""
SUMS_ALONE = "LIBRARY_FUSION_TYPE_REDUCE"


@cache
def compiler_options() -> dict[str, Any]:
    """Return the options of the compiler for all programs: on a CPU, Eigen computes convolutions and products.

    YNNPACK, XLA's own choice, has half the rate in convolutions of 32 and 64 channels: 1,024 images, a block of 32 to
    64 channels, two cores of an AMD EPYC with AVX-512: 116 ms, 62 by Eigen. A training step of one network becomes
    1.07 to 1.20 times as fast, of three, which fill both cores, 1.0 to 1.16 times (width 32 and 128, 10 and 100
    images). Whoever sets the option in XLA_FLAGS chooses.
    """
    if jax.default_backend() != "cpu" or BY_YNNPACK in os.environ.get("XLA_FLAGS", ""):
        return {}
    options = {BY_YNNPACK: SUMS_ALONE}
    try:
        jax.jit(lambda: 0, compiler_options=options)()
    except (RuntimeError, ValueError):  # another version of XLA, without the option
        return {}
    return options

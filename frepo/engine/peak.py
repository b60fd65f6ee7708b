"""How fast a device could be: published dense peaks, to hold a rate of steps against."""

import re

from frepo.spec.architecture import Precision

TERA = 1e12

PEAKS: dict[str, dict[Precision, float]] = {
    r"H200$|H100 80GB HBM3$": {"float32": 67 * TERA, "tf32": 494 * TERA, "bfloat16": 989 * TERA},
    r"A100": {"float32": 19.5 * TERA, "tf32": 156 * TERA, "bfloat16": 312 * TERA},
    r"L40S$": {"float32": 91.6 * TERA, "tf32": 183 * TERA, "bfloat16": 362 * TERA},
}
"""Operations a second of dense matrix products (NVIDIA's data sheets), by a pattern of the device's name in JAX."""


def peak_flops(device_kind: str, precision: Precision) -> float | None:
    """Return the peak of a device by the name that JAX gives it, or None where it is not known."""
    return next((rates[precision] for name, rates in PEAKS.items() if re.search(name, device_kind)), None)

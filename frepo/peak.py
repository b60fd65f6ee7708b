"""How fast a device could be: published dense peaks, to hold a rate of steps against."""

from frepo.spec.architecture import Precision

TERA = 1e12

PEAKS: dict[str, dict[Precision, float]] = {
    "H200": {"float32": 67 * TERA, "tf32": 494 * TERA, "bfloat16": 989 * TERA},
    "H100": {"float32": 67 * TERA, "tf32": 494 * TERA, "bfloat16": 989 * TERA},
    "A100": {"float32": 19.5 * TERA, "tf32": 156 * TERA, "bfloat16": 312 * TERA},
    "L40S": {"float32": 91.6 * TERA, "tf32": 183 * TERA, "bfloat16": 362 * TERA},
    "RTX 4090": {"float32": 82.6 * TERA, "tf32": 82.6 * TERA, "bfloat16": 165.2 * TERA},
    "RTX 3090": {"float32": 35.6 * TERA, "tf32": 35.6 * TERA, "bfloat16": 71 * TERA},
}
"""Operations a second of dense matrix products (NVIDIA's data sheets; the SXM form where there are several)."""


def peak_flops(device_kind: str, precision: Precision) -> float | None:
    """Return the peak of a device by the name that JAX gives it, or None where it is not known."""
    return next((rates[precision] for name, rates in PEAKS.items() if name in device_kind), None)

"""Cost of a loop, measured on its device before it runs, and peak speeds of devices."""

import re
import time
from dataclasses import asdict, dataclass
from typing import Any

import jax

from frepo.engine.blocks import BlockRunner
from frepo.engine.loop import Loop
from frepo.spec.architecture import Precision

SECONDS_TIMED = 3.0
TERA = 1e12

PEAKS: dict[str, dict[Precision, float]] = {
    r"H200$|H100 80GB HBM3$": {"float32": 67 * TERA, "tf32": 494 * TERA, "bfloat16": 989 * TERA},
    r"A100": {"float32": 19.5 * TERA, "tf32": 156 * TERA, "bfloat16": 312 * TERA},
    r"L40S$": {"float32": 91.6 * TERA, "tf32": 183 * TERA, "bfloat16": 362 * TERA},
}
"""Operations per second of dense matrix products (NVIDIA's data sheets), by a pattern of the device's name in JAX."""


@dataclass(frozen=True)
class Cost:
    """The cost of a stage's steps."""

    parameters: int
    """Number of learned weights of one network."""
    flops_per_step: float
    """Floating-point operations of a step, as XLA counts them before optimising; a product and a sum are two."""
    peak_device_bytes: int
    """Arguments, results and temporaries of the largest compiled program, as assigned by XLA."""
    compile_seconds: float
    """With the compile cache as it was."""
    seconds_per_step: float
    steps: int

    def to_json(self) -> dict[str, Any]:
        """Return the figures as JSON."""
        return asdict(self)


def measure(loop: Loop[Any], parameters: int) -> Cost:
    """Compile the program of `loop`, run a few of its steps and return their cost."""
    runner, state = BlockRunner(loop.step), loop.first_state()
    given = loop.typical_inputs(min(loop.block_steps, loop.steps))
    began = time.perf_counter()
    programs = runner.programs_of_block(state, loop.constants, given)
    peak = max(_bytes_of(program.compile().memory_analysis()) for program in programs)
    compile_seconds = time.perf_counter() - began
    flops = runner.flops_per_step(state, loop.constants, given)
    state, _ = runner(state, loop.constants, given, lambda _: False)
    jax.block_until_ready(state)
    done, began = 0, time.perf_counter()
    while time.perf_counter() - began < SECONDS_TIMED:
        state, metrics = runner(state, loop.constants, given, lambda _: False)
        jax.block_until_ready(state)
        done += len(metrics)
    seconds_per_step = (time.perf_counter() - began) / done
    return Cost(parameters, flops, peak, compile_seconds, seconds_per_step, loop.steps)


def _bytes_of(memory: Any) -> int:
    return (
        memory.argument_size_in_bytes
        + memory.output_size_in_bytes
        + memory.temp_size_in_bytes
        - memory.alias_size_in_bytes
    )


def peak_flops(device_kind: str, precision: Precision) -> float | None:
    """Return the peak of a device by its name in JAX, or None if it is unknown."""
    return next((rates[precision] for name, rates in PEAKS.items() if re.search(name, device_kind)), None)

"""What a loop costs: measured on the device that would run it, before it runs."""

import time
from dataclasses import asdict, dataclass
from typing import Any

import jax

from frepo.engine.blocks import BlockRunner, block_steps
from frepo.engine.devices import compiled, place
from frepo.engine.loop import Loop

SECONDS_TIMED = 3.0


@dataclass(frozen=True)
class Cost:
    """The cost of a stage's steps."""

    parameters: int
    """Of one network."""
    flops_per_step: float
    """Floating-point operations of a step, as XLA counts them before it optimises; a product and a sum are two."""
    peak_device_bytes: int
    """Arguments, results and temporaries of the compiled program, as XLA assigned them."""
    compile_seconds: float
    """With what the cache of compiled programs held."""
    seconds_per_step: float
    steps: int

    def to_json(self) -> dict[str, Any]:
        """Return the figures as JSON."""
        return asdict(self)


def measure(loop: Loop[Any], parameters: int) -> Cost:
    """Compile the program of `loop`, run a few of its steps and return what they cost."""
    runner, state = BlockRunner(loop.step), place(compiled(loop.initial)())
    count = min(block_steps(loop.bytes_per_step), loop.steps)
    given, choices = loop.inputs(0, count)
    began = time.perf_counter()
    memory: Any = runner.lower_block(state, loop.constants, given, choices).compile().memory_analysis()
    compile_seconds = time.perf_counter() - began
    flops = runner.flops_per_step(state, loop.constants, given)
    state, _ = runner(state, loop.constants, given, choices, _never)
    jax.block_until_ready(state)
    done, began = 0, time.perf_counter()
    while time.perf_counter() - began < SECONDS_TIMED:
        state, metrics = runner(state, loop.constants, given, choices, _never)
        jax.block_until_ready(state)
        done += len(metrics)
    seconds_per_step = (time.perf_counter() - began) / done
    peak = (
        memory.argument_size_in_bytes
        + memory.output_size_in_bytes
        + memory.temp_size_in_bytes
        - memory.alias_size_in_bytes
    )
    return Cost(parameters, flops, peak, compile_seconds, seconds_per_step, loop.steps)


def _never() -> bool:
    return False

"""What gives the same bits, and how far apart the rest is: images and networks after 1, 50 and 1,000 steps.

    python tests/benchmarks/bits.py [--steps 1 50 1000] [--ways resumed ...]

One way is the reference: one CPU device, all cores, the host loop. Each of the others differs from it in one thing. For
each is printed the largest difference of a number from the reference, as a share of the largest number there: of the
images that FRePo learns from the digits, and of the weights of two networks that are trained on real digits.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

STEPS = (1, 50, 1000)
EIGHT = {"XLA_FLAGS": "--xla_force_host_platform_device_count=8"}
WAYS: dict[str, dict[str, str]] = {
    "reference": {},
    "another process": {},
    "resumed": {"RESUMED": "1"},
    "one core": {"CORES": "1"},
    "eight devices": EIGHT,
    "scan and vmap, as on a GPU": {"AS_ON_A_GPU": "1"},
    "less optimised programs": {"JAX_DISABLE_MOST_OPTIMIZATIONS": "true"},
}
SAME_PROGRAMS = ("reference", "another process", "resumed")
SPEC = """
name = "bits"
[dataset]
name = "digits"
[architecture]
width = 8
depth = 2
[distill]
method = "frepo"
ipc = 1
steps = {steps}
batch_size = 128
learning_rate = 0.01
[pool]
size = 3
max_online_updates = 10
[[application]]
type = "evaluate"
num_models = 2
steps = {steps}
warmup_steps = 0
augmentation = []
"""


def main() -> None:
    """Print a line for each way."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, nargs="+", default=STEPS)
    parser.add_argument("--ways", nargs="+", default=list(WAYS)[1:], choices=list(WAYS)[1:])
    parser.add_argument("--into", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.into:
        compute(options.steps, options.into)
        return
    with tempfile.TemporaryDirectory() as scratch:
        reference = arrays("reference", options.steps, Path(scratch))
        for way in options.ways:
            found = arrays(way, options.steps, Path(scratch))
            cells = [difference(reference[name], found[name]) for name in sorted(reference)]
            named = zip(sorted(reference), cells, strict=True)
            texts = [f"{name} {'same bits' if share == 0 else f'{share:.1e}'}" for name, share in named]
            print(f"{way}: {', '.join(texts)}", flush=True)


def difference(one: np.ndarray, other: np.ndarray) -> float:
    """Return the largest difference of a number as a share of the largest number; 0 for the same bits only."""
    if one.tobytes() == other.tobytes():
        return 0.0
    return float(np.max(np.abs(one - other)) / np.max(np.abs(one)))


def arrays(way: str, steps: Sequence[int], scratch: Path) -> dict[str, np.ndarray]:
    """Return what is computed in a process of its own: `images` and `weights` after so many steps, by name."""
    into = scratch / f"{way}.npz"
    command = [sys.executable, __file__, "--into", str(into), "--steps", *map(str, steps)]
    # Ways whose programs are the same share them; JAX's own key of a program leaves most settings out.
    programs = scratch / ("programs" if way in SAME_PROGRAMS else f"programs of {way}")
    cache = {"JAX_COMPILATION_CACHE_DIR": str(programs), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    subprocess.run(command, env={**os.environ, "JAX_PLATFORMS": "cpu", **cache, **WAYS[way]}, check=True)
    with np.load(into) as found:
        return dict(found)


def compute(steps: Sequence[int], into: Path) -> None:
    """Write the arrays that this process computes."""
    if "CORES" in os.environ:  # before JAX counts them
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(os.environ["CORES"])])
    if "AS_ON_A_GPU" in os.environ:
        import jax

        jax.default_backend = lambda: "gpu"
    with tempfile.TemporaryDirectory() as scratch:
        learning, training = loops(max(steps), Path(scratch))
        images = along(learning.loop, steps, lambda state: learning.shown(state).images, Path(scratch) / "learning")
        weights = along(training, steps, flat, Path(scratch) / "training")
    named = {"images": images, "weights": weights}
    np.savez(into, **{f"{name} {step:,}": found[step] for name, found in named.items() for step in found})


def loops(steps: int, scratch: Path) -> tuple[Any, Any]:
    """Return the learning of images, and the loop that trains networks on real ones."""
    from frepo.data.load import load_dataset
    from frepo.methods.base import Job
    from frepo.methods.chosen import with_labels
    from frepo.networks.prepare import prepare
    from frepo.plan import compile_plan
    from frepo.runtime import RuntimeOptions
    from frepo.spec import load_spec

    path = scratch / "bits.toml"
    path.write_text(SPEC.format(steps=steps))
    first, evaluation, *_ = compile_plan(load_spec(path).spec).stages
    dataset = load_dataset(first.dataset, scratch, scratch)
    learning = first.work.distill.load()(Job(first, dataset, RuntimeOptions(residency="device")))
    return learning, prepare(evaluation.work, with_labels(dataset, np.arange(100)), dataset, "device").loop


def along(loop: Any, steps: Sequence[int], shown: Callable[[Any], Any], directory: Path) -> dict[int, np.ndarray]:
    """Return what is `shown` of the states after so many steps."""
    from frepo.engine.journal import Journal
    from frepo.engine.loop import Milestone
    from frepo.engine.run import run_steps
    from frepo.errors import Interrupted
    from frepo.runtime import Cadence

    found: dict[int, np.ndarray] = {}
    stops = {max(1, max(steps) // 3)} if "RESUMED" in os.environ else set()

    def look(state: Any, step: int) -> tuple[Any, dict[str, float]]:
        if step in steps:
            found[step] = np.asarray(shown(state))
        if step in stops:
            stops.remove(step)
            raise Interrupted("as by a signal")
        return state, {}

    points = tuple(sorted({*steps, *stops}))
    directory.mkdir()
    journal = Journal(directory, "bits", Cadence(), None, lambda *_: None)
    with_looks = replace(loop, milestones=(Milestone(points, look),))
    try:
        with journal.saving_where_stopped():
            run_steps(with_looks, journal)
    except Interrupted:
        run_steps(with_looks, Journal(directory, "bits", Cadence(), None, lambda *_: None))
    return found


def flat(networks: Any) -> np.ndarray:
    """Return the weights of all networks in one row."""
    import jax

    from frepo.networks.training import one_by_one

    return np.concatenate([np.ravel(leaf) for n in one_by_one(networks) for leaf in jax.tree.leaves(n.params)])


if __name__ == "__main__":
    main()

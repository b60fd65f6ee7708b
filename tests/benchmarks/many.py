"""Wall time and peak memory of commands on a sweep of many experiments, planned and finished.

    python tests/benchmarks/many.py [--experiments 100 1000] [--times 3]

Nothing is computed: stages are written as runs leave them. With several numbers, what each command takes for the
largest over what it takes for the smallest is printed too.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from start import FREPO

from frepo.data.outside import mark_of_files
from frepo.execute.graph import Graph
from frepo.plan import DistillStage
from frepo.rundir import record
from frepo.rundir.directory import record_run
from frepo.rundir.layout import stage_directory
from frepo.runtime import RuntimeOptions
from frepo.spec import load_specs

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))
import conftest as fake

SPEC = """name = "many"
[dataset]
name = "digits"
[architecture]
width = 8
depth = 2
[distill]
method = "frepo"
ipc = 1
[[application]]
type = "evaluate"
num_models = 5
baselines = ["random"]
[sweep]
"distill.ipc" = [1, 10]
"distill.steps" = {steps}
seed = [0, 1, 2, 3, 4]
"""
METRICS = [(step, name, 0.5) for step in range(0, 1000, 5) for name in ("loss", "krr_accuracy")]
FACTS = {"class_names": [str(digit) for digit in range(10)], "image_shape": [8, 8, 1], "fingerprint": "f" * 64}
COMMANDS = (
    ("check", "many.toml"),
    ("plan", "many.toml"),
    ("status", "many.toml"),
    ("run", "many.toml"),
    ("ingest",),
    ("runs",),
    ("table", "many.toml", "--rows", "steps", "--columns", "ipc"),
    ("report", "--sweep", "many"),
)


def measured(command: tuple[str, ...], cwd: Path) -> tuple[float, float]:
    """Return seconds and MiB of a command that has to succeed."""
    began = time.perf_counter()
    process = subprocess.Popen([*FREPO, *command], cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    said = process.stderr.read().decode()
    _, code, usage = os.wait4(process.pid, 0)
    if code:
        raise SystemExit(f"frepo {' '.join(command)} failed\n{said[-2000:]}")
    return time.perf_counter() - began, usage.ru_maxrss / 1024


def write(cwd: Path, metrics: Sequence[tuple[int, str, float]] = METRICS) -> int:
    """Write all stages of the sweep as finished, and the records of its runs; return how many stages there are."""
    options = RuntimeOptions(runs_dir=cwd / "runs", database=cwd / "results.duckdb")
    graph = Graph(load_specs(cwd / "many.toml"))
    of_today = mark_of_files(graph.stages[0].dataset, options.tfds_dir)
    for number, stage in enumerate(graph.stages):
        directory = stage_directory(stage, options.runs_dir)
        directory.mkdir(parents=True)
        scores = [tuple(0.5 + (number * 7 + model) % 11 / 100 for model in range(5))]
        images = fake.write_results(directory, stage.work, scores, 10, metrics)
        if isinstance(stage.work, DistillStage):
            (directory / record.DISTILLED).write_bytes(b"0" * 10_000)
        fake.write_stage(directory, stage, "done", FACTS, images=images)
        found = record.read_stage(directory).model_copy(update={"data_files": of_today})
        record.write_record(directory / record.STAGE_FILE, found)
    for experiment in graph.experiments:
        record_run(experiment.plan, experiment.loaded, options)
    return len(graph.stages)


def main() -> None:
    """Print a line for each command and number of experiments."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--experiments", type=int, nargs="+", default=[100, 1000])
    parser.add_argument("--times", type=int, default=3)
    arguments = parser.parse_args()
    taken: dict[str, list[float]] = {}
    for count in arguments.experiments:
        with tempfile.TemporaryDirectory() as scratch:
            cwd = Path(scratch)
            (cwd / "many.toml").write_text(SPEC.format(steps=list(range(1, count // 10 + 1))))
            stages = write(cwd)
            print(f"{count} experiments, {stages} distinct stages", flush=True)
            first, _ = measured(("ingest",), cwd)
            print(f"  {'ingest (all new)':16}  {first:7.2f} s", flush=True)
            taken.setdefault("ingest (all new)", []).append(first)
            for command in COMMANDS:
                times, sizes = zip(*(measured(command, cwd) for _ in range(arguments.times)), strict=True)
                print(f"  {command[0]:16}  {sorted(times)[len(times) // 2]:7.2f} s  {max(sizes):7.0f} MiB", flush=True)
                taken.setdefault(command[0], []).append(sorted(times)[len(times) // 2])
    if len(arguments.experiments) > 1:
        print(f"largest over smallest, of {arguments.experiments[-1] / arguments.experiments[0]:.0f} times as many:")
        for name, seconds in taken.items():
            print(f"  {name:16}  {seconds[-1] / seconds[0]:7.2f}")


if __name__ == "__main__":
    main()

"""Wall time and size of `frepo report --sweep` for a sweep of many experiments.

    python tests/benchmarks/sweep.py [--experiments 200] [--times 3]

Nothing is computed: run directories are written as runs leave them, three seeds each, with noise as images.
"""

import argparse
import subprocess
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from start import FREPO, print_page

from frepo.store.query import query

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))
from conftest import FakeRuns
from test_report_page import NAMES, write_images

SEEDS, SIDE = 3, 32
IPCS = (1, 2, 3, 5, 7, 10, 20, 30, 50, 100)
METHODS = ("dm", "frepo", "herding", "random")


def write_runs(runs_dir: Path, experiments: int) -> None:
    """Write cases x methods x images per class until there are enough experiments, each with all its seeds."""
    fake_runs, random = FakeRuns(runs_dir), np.random.default_rng(0)
    for number in range(experiments):
        ipc, rest = IPCS[number % len(IPCS)], number // len(IPCS)
        method, case = METHODS[rest % len(METHODS)], f"case{rest // len(METHODS)}"
        for seed in range(SEEDS):
            name = f"grid-{case}-{method}-ipc{ipc}-seed{seed}"
            plan, _ = fake_runs(
                name,
                seed=seed,
                ipc=ipc,
                tables={"distill": {"method": method}},
                dataset={"name": "cifar10", "train_fraction": 0.9 - rest // len(METHODS) / 100},
                image_shape=(SIDE, SIDE, 3),
                class_names=NAMES,
                scores=[tuple(random.uniform(0.2, 0.8, 5)) for _ in range(2)],
                application=[{"type": "evaluate", "baselines": ["random"]}],
                created=datetime(2024, 1, 1, tzinfo=UTC) + timedelta(minutes=number),
                sweep="grid",
                swept={"case": case, "distill.method": method, "distill.ipc": ipc, "seed": seed},
            )
            if seed == 0:
                directory = fake_runs.directory(name, plan.stages[0])
                write_images(directory, (0, 1000), ("pixels",), min(ipc, 10), SIDE)


def main() -> None:
    """Print the median time of the page, and its size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--experiments", type=int, default=200)
    parser.add_argument("--times", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        cwd = Path(scratch)
        write_runs(cwd / "runs", arguments.experiments)
        subprocess.run([*FREPO, "ingest"], cwd=cwd, check=True, stdout=subprocess.DEVNULL)
        ((distinct,),) = query(cwd / "results.duckdb", "SELECT count(DISTINCT experiment) FROM runs").rows
        assert distinct == arguments.experiments, f"only {distinct} experiments differ"
        count = f"{arguments.experiments} experiments, {arguments.experiments * SEEDS} runs"
        print_page(["report", "--sweep", "grid"], "sweep-grid.html", count, cwd, arguments.times)


if __name__ == "__main__":
    main()

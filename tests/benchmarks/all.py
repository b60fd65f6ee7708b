"""All benchmarks, one after the other, with the machine they ran on.

    python tests/benchmarks/all.py [--data-dir DIR]

With prepared MNIST and CIFAR-10 in DIR the specs of `specs/cpu` are measured too; without, the quickstart alone. Times
are of the machine as it is: nothing else should run beside.
"""

import argparse
import os
import platform
import subprocess
import sys
from pathlib import Path

import jax

HERE = Path(__file__).parent
SPECS = HERE.parents[1] / "specs"
CPU_SPECS = [SPECS / "cpu" / f"{name}.toml" for name in ("mnist_ipc1", "cifar10_ipc1", "cifar10_ipc10")]


def main() -> None:
    """Print what each of them prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path)
    data_dir = parser.parse_args().data_dir
    specs = [SPECS / "quickstart.toml", *(CPU_SPECS if data_dir else [])]
    data = ["--data-dir", str(data_dir.resolve())] if data_dir else []
    device = jax.devices()[0]
    cores = f"{os.cpu_count()} cores, {platform.platform()}"
    print(f"{jax.device_count()} x {device.device_kind}, {cores}, jax {jax.__version__}")
    for title, command in (
        ("Steps a second", ["loop.py", *data, "--steps", "12", *map(str, specs)]),
        ("Training step of an evaluation", ["training.py"]),
        ("Networks side by side", ["networks.py"]),
        ("Time to start", ["start.py", str(specs[-2] if data else specs[0]), *(["--", *data] if data else [])]),
        ("Report", ["report.py"]),
        ("Report of a sweep", ["sweep.py"]),
        ("Many experiments", ["many.py"]),
        ("Many processes, and a database of many runs", ["load.py"]),
        ("Peak memory", ["memory.py", str(specs[-2] if data else specs[0]), *(["--", *data] if data else [])]),
    ):
        print(f"\n{title}", flush=True)
        subprocess.run([sys.executable, HERE / command[0], *command[1:]], check=True)


if __name__ == "__main__":
    main()

"""Wall time and size of `frepo report` with many runs in the database.

    python tests/benchmarks/report.py [--runs 200] [--times 5]

The runs are computed here, on the built-in digits: few steps, so that 200 take minutes. The three newest, which the
page of all runs shows in full, have learned images.
"""

import argparse
import subprocess
import tempfile
from pathlib import Path

from start import FREPO, print_page

IN_FULL = 3
SELECTS = 'method = "random"\nipc = 1\n'
LEARNS = 'method = "frepo"\nipc = 10\nsteps = 40\nbatch_size = 64\n'
SPEC = """name = "run{number}"
seed = {number}
[dataset]
name = "digits"
[architecture]
width = 32
depth = 2
[distill]
{distill}
[[application]]
type = "evaluate"
num_models = 2
steps = 2
warmup_steps = 0
augmentation = []
"""


def compute(cwd: Path, runs: int) -> None:
    """Fill the database: the newest runs learn, the others only select."""
    specs = []
    for number in range(runs):
        path = cwd / f"{number}.toml"
        path.write_text(SPEC.format(number=number, distill=LEARNS if number >= runs - IN_FULL else SELECTS))
        specs.append(path.name)
    subprocess.run([*FREPO, "run", "--quiet", *specs], cwd=cwd, check=True, stdout=subprocess.DEVNULL)


def main() -> None:
    """Print the median time of the page of all runs and of that of one run, and their sizes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--times", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        cwd = Path(scratch)
        compute(cwd, arguments.runs)
        for names, page in (([], "report.html"), ([f"run{arguments.runs - 1}"], f"run{arguments.runs - 1}.html")):
            print_page(["report", *names], page, f"{arguments.runs} runs", cwd, arguments.times)


if __name__ == "__main__":
    main()

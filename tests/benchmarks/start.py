"""Wall time of whole commands: help, check, a cold start, a warm start and a finished spec.

    python tests/benchmarks/start.py [--runs 5] [SPEC] [-- ARGUMENTS OF RUN]

Cold: caches empty, so data is decoded and fitted and programs are compiled. Warm: caches filled, results set aside.
Both are timed to the first step done and end there with a SIGTERM.
"""

import argparse
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

FREPO = [sys.executable, "-m", "frepo.cli"]
QUICKSTART = Path(__file__).parents[2] / "specs" / "quickstart.toml"


def seconds_of(command: list[str], cwd: Path, runs: int) -> float:
    """Return the median wall time of a command that has to succeed."""
    times = []
    for _ in range(runs):
        began = time.perf_counter()
        subprocess.run([*FREPO, *command], cwd=cwd, check=True, capture_output=True)
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def print_page(command: list[str], page: str, of: str, cwd: Path, runs: int) -> None:
    """Print the median wall time of a command that writes a page, of what it is, and the size of the page."""
    seconds = seconds_of(command, cwd, runs)
    size = (cwd / "reports" / page).stat().st_size / 1e6
    print(f"{page:<20} {of}  {seconds:6.2f} s  {size:6.2f} MB")


def seconds_to_first_step(command: list[str], cwd: Path, run: Path) -> float:
    """Return the wall time until the first row of metrics is on disk, then stop the run."""
    began = time.perf_counter()
    process = subprocess.Popen([*FREPO, *command], cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    while not any(path.stat().st_size for path in run.glob("frepo-????????/metrics.jsonl")):
        if process.poll() is not None:
            raise SystemExit(process.stderr.read().decode())
        time.sleep(0.005)
    seconds = time.perf_counter() - began
    process.send_signal(signal.SIGTERM)
    process.communicate()
    return seconds


def main() -> None:
    """Print a line for each command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("spec", nargs="?", type=Path, default=QUICKSTART)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("rest", nargs="*", help="arguments of `frepo run`, such as --data-dir DIR")
    arguments = parser.parse_args()
    spec = str(arguments.spec.resolve())
    with tempfile.TemporaryDirectory() as scratch:
        cwd = Path(scratch)
        print(f"--help                    {seconds_of(['--help'], cwd, arguments.runs):8.2f} s")
        print(f"check                     {seconds_of(['check', spec], cwd, arguments.runs):8.2f} s")
        command = ["run", spec, "--set", "name=start", "--log-every", "1", *arguments.rest]
        run = cwd / "runs" / "start"
        print(f"first step, cold          {seconds_to_first_step(command, cwd, run):8.2f} s", flush=True)
        warm = [
            seconds_to_first_step([*command, "--set", f"seed={1000 + i}"], cwd, run_of_new_seed(run)) for i in range(3)
        ]
        print(f"first step, warm          {statistics.median(warm):8.2f} s")
        quick = ["run", spec, "--set", "distill={method='random', ipc=1}", "--set", "application=[]", *arguments.rest]
        subprocess.run([*FREPO, *quick], cwd=cwd, check=True, capture_output=True)
        print(f"run on a finished spec    {seconds_of(quick, cwd, arguments.runs):8.2f} s")


def run_of_new_seed(run: Path) -> Path:
    """Move earlier stages out of the way and return the run's directory."""
    for path in run.glob("frepo-????????"):
        path.rename(path.with_name(f".{path.name}.done-{time.monotonic_ns()}"))
    return run


if __name__ == "__main__":
    main()

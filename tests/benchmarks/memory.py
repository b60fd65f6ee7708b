"""Peak memory of each stage of a run, host and device.

    python tests/benchmarks/memory.py [SPEC] [-- ARGUMENTS OF RUN]

Distillation and evaluation are cut to 20 steps; peaks do not depend on the number of steps.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

FREPO = [sys.executable, "-m", "frepo.cli"]
SHORT = ("distill.steps=20", "application.0.steps=20", "application.0.warmup_steps=5", "name=memory")
SQL = """
SELECT label, peak_host_bytes / 2**20 AS host, peak_device_bytes / 2**20 AS device
FROM stages ORDER BY started_at
"""


def main() -> None:
    """Print a line for each stage."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("spec", nargs="?", type=Path, default=Path(__file__).parents[2] / "specs" / "quickstart.toml")
    parser.add_argument("rest", nargs="*", help="arguments of `frepo run`, such as --data-dir DIR")
    arguments = parser.parse_args()
    settings = [word for setting in SHORT for word in ("--set", setting)]
    with tempfile.TemporaryDirectory() as scratch:
        run = [*FREPO, "run", str(arguments.spec.resolve()), *settings, *arguments.rest]
        for start in ("first start", "second start"):
            subprocess.run([*run, "--fresh"], cwd=scratch, check=True, capture_output=True)
            rows = subprocess.run(
                [*FREPO, "query", SQL, "--format", "json"], cwd=scratch, check=True, capture_output=True
            )
            for row in json.loads(rows.stdout):
                device = "" if row["device"] is None else f"{row['device']:8.0f} MiB on the device"
                print(f"{start:<14} {row['label']:<20} {row['host']:8.0f} MiB on the host {device}", flush=True)


if __name__ == "__main__":
    main()

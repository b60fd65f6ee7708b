"""Several processes write one database while others read it: nothing is lost, and nobody sees an error."""

import json
import subprocess
import sys
from pathlib import Path

BENCHMARK = Path(__file__).parents[1] / "benchmarks" / "load.py"


def test_processes_that_write_and_read_one_database_lose_nothing():
    command = [sys.executable, BENCHMARK, "--writers", "3", "--runs", "5", "--readers", "2", "--many", "0", "--json"]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True, timeout=300).stdout)
    assert found["lost"] == found["failed"] == found["stages that are there twice"] == 0
    assert found["reads"] >= 2
    assert found["wait of a writer, longest"] < 60

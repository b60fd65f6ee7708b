"""Many processes at one database, and a database of many runs: losses, errors, waits and times.

    python tests/benchmarks/load.py [--writers 8] [--runs 50] [--readers 2] [--many 1000] [--rows 2000] [--times 3]

Runs are computed by nobody: a sweep's stages are written as runs leave them. First `--writers` processes take `--runs`
runs each into one database, one after the other as runs do when they end, while `--readers` processes list the runs all
the while. Then a database of `--many` runs with `--rows` rows of metrics each is made, and commands and queries on it
are timed.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from many import SPEC, measured, write

from frepo.rundir import record
from frepo.store.connect import reading
from frepo.store.ingest import ingest

WRITE = """
import json, sys, time
from pathlib import Path
from frepo.store.ingest import ingest
database, runs_dir, names = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]
waits, problems = [], []
for name in names:
    began = time.perf_counter()
    problems += ingest(database, runs_dir, [name]).problems
    waits.append(time.perf_counter() - began)
print(json.dumps([waits, problems]))
"""
READ = """
import json, sys, time
from pathlib import Path
from frepo.store.tables import list_runs
database, stop, waits, counts = Path(sys.argv[1]), Path(sys.argv[2]), [], []
while not stop.exists():
    began = time.perf_counter()
    counts.append(len(list_runs(database).rows))
    waits.append(time.perf_counter() - began)
    time.sleep(0.05)
assert counts == sorted(counts), "a reader has seen a run vanish"
print(json.dumps([waits, []]))
"""
QUERIES = {
    "best accuracies": "SELECT name, source, top1_mean FROM accuracy_table ORDER BY top1_mean DESC LIMIT 20",
    "a curve": "SELECT step, value FROM metrics WHERE run = '{name}' AND name = 'loss' ORDER BY step",
    "last loss of each run": "SELECT run, arg_max(value, step) FROM metrics WHERE name = 'loss' GROUP BY run",
    "mean over seeds": "SELECT * FROM seed_table",
    "leaderboard": "SELECT * FROM leaderboard",
    "architectures": "SELECT * FROM cross_architecture",
    "rows of metrics": "SELECT count(*) FROM metrics",
}


def prepared(cwd: Path, count: int, rows: int) -> list[str]:
    """Write `count` finished runs with so many rows of metrics each, and return their names."""
    (cwd / "many.toml").write_text(SPEC.format(steps=list(range(1, -(-count // 10) + 1))))
    write(cwd, [(step, name, 1 / (1 + step)) for step in range(rows // 2) for name in ("loss", "krr_accuracy")])
    return sorted(path.name for path in (cwd / "runs").iterdir() if not path.name.startswith("."))


def together(cwd: Path, writers: int, runs: int, readers: int) -> dict[str, float]:
    """Let processes write and read one database, and return what came of it."""
    database, runs_dir, stop = cwd / "results.duckdb", cwd / "runs", cwd / "stop"
    names = prepared(cwd, writers * runs, 20)[: writers * runs]
    ingest(database, runs_dir, [])

    def start(code: str, *arguments: str | Path) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", code, str(database), *map(str, arguments)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    began = time.perf_counter()
    reading_them = [start(READ, stop) for _ in range(readers)]
    said = [process.communicate() for process in [start(WRITE, runs_dir, *names[k::writers]) for k in range(writers)]]
    seconds = time.perf_counter() - began
    stop.touch()
    said_by_readers = [process.communicate() for process in reading_them]
    failed = [err for out, err in (*said, *said_by_readers) if not out]
    print("".join(failed), file=sys.stderr, end="")
    waits, reads = (
        [wait for out, _ in found if out for wait in json.loads(out)[0]] for found in (said, said_by_readers)
    )
    problems = [problem for out, _ in said if out for problem in json.loads(out)[1]]
    with reading(database) as connection:
        there = {name for (name,) in connection.execute("SELECT name FROM runs WHERE status = 'done'").fetchall()}
        stages = connection.execute("SELECT count(*), count(DISTINCT (run, stage)) FROM stages").fetchone()
    return {
        "lost": len(set(names) - there),
        "stages that are there twice": stages[0] - stages[1],
        "failed": len(failed) + len(problems),
        "seconds": seconds,
        "reads": len(reads),
        **_spread("wait of a writer", waits),
        **_spread("wait of a reader", reads),
    }


def _spread(name: str, seconds: list[float]) -> dict[str, float]:
    return {f"{name}, median": statistics.median(seconds), f"{name}, longest": max(seconds)} if seconds else {}


def timed(cwd: Path, count: int, rows: int, times: int) -> dict[str, float]:
    """Return seconds of commands and queries on a database of many runs."""
    names = prepared(cwd, count, rows)
    found = {"ingest, all new": measured(("ingest",), cwd)[0]}
    commands = {
        "ingest, nothing new": ("ingest",),
        "runs": ("runs",),
        "report of one run": ("report", names[len(names) // 2]),
        "report of all": ("report",),
        **{name: ("query", sql.format(name=names[0])) for name, sql in QUERIES.items()},
    }
    for name, command in commands.items():
        found[name] = statistics.median(measured(command, cwd)[0] for _ in range(times))
        print(f"{name}: {found[name]:.2f} s", file=sys.stderr, flush=True)
    found["ingest, rows of one run new"] = statistics.median(_ingest_after_rows(cwd, names[0], k) for k in range(times))
    return found


def _ingest_after_rows(cwd: Path, name: str, number: int) -> float:
    """Append rows to a run, as one that goes on does, and return the seconds that it takes to ingest all runs."""
    (metrics,) = (cwd / "runs" / name).glob("frepo-*/metrics.jsonl")
    record.append_rows(metrics, [{"step": 10**6 + 10 * number + k, "name": "loss", "value": 0.5} for k in range(10)])
    return measured(("ingest",), cwd)[0]


def main() -> None:
    """Print the figures, as JSON where that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("writers", 8), ("runs", 50), ("readers", 2), ("many", 1000), ("rows", 2000), ("times", 3)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    found: dict[str, float] = {}
    if given.writers:
        with tempfile.TemporaryDirectory() as scratch:
            found |= together(Path(scratch), given.writers, given.runs, given.readers)
    if given.many:
        with tempfile.TemporaryDirectory() as scratch:
            found |= timed(Path(scratch), given.many, given.rows, given.times)
    if given.json:
        print(json.dumps(found))
    else:
        print("\n".join(f"{name:32} {value:10.2f}" for name, value in found.items()))


if __name__ == "__main__":
    main()

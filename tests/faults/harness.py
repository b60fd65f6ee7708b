"""Sites: directories in which commands run in processes of their own, are disturbed, and run again."""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
from interpreter import start

CHILD = Path(__file__).parent / "child"
MADE = ("pages", "exported", "data", "decoded", "imported")
"""Directories that light commands make."""

ROWS = {
    "runs": "run_id, name, fingerprint, experiment, seed, dataset, method, ipc, status, spec, overrides, sweep, swept",
    "run_stages": "*",
    "stages": "run, stage, kind, label, fingerprint, status, step, steps, dataset_fingerprint, budget_bytes",
    **dict.fromkeys(("metrics", "images", "evaluations", "confusions", "scores", "continual", "attacks"), "*"),
}
"""Columns of each table that do not depend on when and where a run was computed."""

OF_A_PATH = re.compile(r"(\.stages/[a-z]+-[0-9a-f]{12})-[0-9a-f]{6}")
"""The place of a stage of a folder of images, which its absolute path decides."""
WHEN = re.compile(r"/\.(cache|lease|clock)|\.tmp|stage\.json|/run-|provenance|README|downloads/|events")
"""Files that say when they were made, and what is removed at the end."""

RESULTS = re.compile(r"[^/]+\.(npz|jsonl)|tuning\.json|images/[^/]+\.png|network/\d+\.state")


@dataclass
class Done:
    """A command that has ended."""

    code: int
    out: str
    err: str
    seconds: float


@dataclass
class Acknowledged:
    """Results that were said to be there: records of finished stages, and rows of the database."""

    records: dict = field(default_factory=dict)
    rows: dict = field(default_factory=dict)

    def clear(self):
        self.records.clear()
        self.rows.clear()


@dataclass
class Site:
    """A directory in which commands run."""

    path: Path
    programs: object
    environment: dict = field(default_factory=dict)
    prefix: tuple = ()
    """A command that runs the command."""

    def start(self, *command, fault=None):
        """Start `frepo COMMAND`, with what $FREPO_FAULT says, and return (the process, what shares its programs)."""
        environment = {
            **os.environ,
            "COLUMNS": "200",
            "NO_COLOR": "1",
            "FREPO_LEASE_SECONDS": "2",
            "JAX_DISABLE_MOST_OPTIMIZATIONS": "true",
            "PYTHONPATH": os.pathsep.join([str(CHILD), os.environ.get("PYTHONPATH", "")]),
            **self.environment,
        }
        if fault is not None:
            environment["FREPO_FAULT"] = json.dumps({"root": str(self.path), **fault})
        environment, share = self.programs.lend(environment)
        return start(command, self.path, environment, prefix=self.prefix), share

    def frepo(self, *command, fault=None, after=None, send=signal.SIGKILL):
        """Run `frepo COMMAND` to its end, or until a signal is sent `after` so many seconds."""
        since = time.monotonic()
        process, share = self.start(*command, fault=fault)
        try:
            out, err = process.communicate(timeout=after or 600)
        except subprocess.TimeoutExpired:
            process.send_signal(send)
            out, err = process.communicate(timeout=600)
        assert "Traceback" not in err or process.returncode < 0, err
        if process.returncode == 0:
            share()
        return Done(process.returncode, out, err, time.monotonic() - since)

    def until_done(self, command, tries=2):
        """Give the same command until it ends with 0, and return what all of them said."""
        said = ""
        for _ in range(tries):
            done = self.frepo(*command)
            said += done.err
            if done.code == 0:
                return said
            assert done.code in (1, 75), said
        raise AssertionError(f"{' '.join(map(str, command))} does not end well:\n{said}")

    def results(self):
        """Return the bytes of the results of all stages by their paths below the place of stages."""
        stages = self.path / "runs" / ".stages"
        found = {}
        for directory in stages.glob("[!.]*"):
            for path in directory.rglob("*"):
                if RESULTS.fullmatch(str(path.relative_to(directory))) and path.is_file():
                    found[str(path.relative_to(stages))] = path.read_bytes()
        return found

    def rows(self, name="results.duckdb"):
        """Return the rows of each table of the database, or none where there is no database yet."""
        return rows_of(self.path / name)

    def made(self):
        """Return digests of what light commands have made by path, without what says when."""
        found = {}
        for path in sorted(path for name in MADE for path in (self.path / name).rglob("*")):
            name = OF_A_PATH.sub(r"\1", str(path.relative_to(self.path)))
            if path.suffix != ".html" and path.is_file() and not WHEN.search(name):
                found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
            elif path.suffix == ".html":
                found[name] = path.read_text().rstrip().endswith("</html>")
        return found, self.rows("again.duckdb")

    def start_again(self):
        """Remove what runs have left."""
        shutil.rmtree(self.path / "runs")
        for path in self.path.glob("results.duckdb*"):
            path.unlink()

    def acknowledge(self, kept):
        """Take to `kept` what is said to be there now."""
        for path in (self.path / "runs" / ".stages").glob("[!.]*/stage.json"):
            found = json.loads(path.read_text())
            if found["status"] == "done":
                kept.records.setdefault(path.parent.name, found)
        for table, rows in self.rows().items():
            if table not in ("runs", "stages", "run_stages"):  # these say how far it is
                kept.rows.setdefault(table, set()).update(rows)

    def must_have(self, kept):
        """Hold what there is against what was acknowledged: none of it was computed again, or lost."""
        for place, found in kept.records.items():
            assert json.loads((self.path / "runs" / ".stages" / place / "stage.json").read_text()) == found, place
        now = self.rows()
        lost = {table: rows - set(now[table]) for table, rows in kept.rows.items()}
        assert not any(lost.values()), lost


def rows_of(database):
    if not database.exists() or not database.stat().st_size:
        return {}
    with tempfile.TemporaryDirectory() as directory:
        copy = Path(directory, "copy.duckdb")
        shutil.copyfile(database, copy)
        log = database.with_name(f"{database.name}.wal")
        if log.exists():
            shutil.copyfile(log, copy.with_name(f"{copy.name}.wal"))
        with duckdb.connect(str(copy)) as connection:
            there = {name for (name,) in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()}
            return {
                table: sorted(map(repr, connection.execute(f"SELECT {columns} FROM {table}").fetchall()))
                for table, columns in ROWS.items()
                if table in there
            }


@dataclass
class Straight(Site):
    """A site where nothing was disturbed, with the writes of its commands."""

    traces: dict = field(default_factory=dict)
    """Command -> list of writes, each a dict of `event`, `path` and `places`."""
    seconds: dict = field(default_factory=dict)

    def record(self, *command):
        """Run a command, which has to end with 0, and keep its writes beside the site."""
        trace = self.path.with_name("trace")
        trace.touch()
        done = self.frepo(*command, fault={"trace": str(trace)})
        assert done.code == 0, done.err
        self.path.with_name("seconds").write_text(str(done.seconds))

    def recall(self, name):
        """Take what was kept."""
        lines = self.path.with_name("trace").read_text().splitlines()
        self.traces[name] = [json.loads(line) for line in lines]
        self.seconds[name] = float(self.path.with_name("seconds").read_text())

    def must_equal(self, site):
        """Hold the results and the rows of another site against these."""
        wanted, found = self.results(), site.results()
        assert found.keys() == wanted.keys()
        assert [name for name in wanted if wanted[name] != found[name]] == []
        wanted, found = self.rows(), site.rows()
        assert found.keys() == wanted.keys()
        assert {t: sorted(set(wanted[t]) ^ set(found[t])) for t in wanted if wanted[t] != found[t]} == {}

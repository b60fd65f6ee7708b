"""Readers in processes of their own, and how long inputs are tried: a second each, or as long as is asked for."""

import contextlib
import importlib.util
import json
import os
import select
import shutil
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import HypothesisWarning

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

SECONDS_VARIABLE = "FREPO_FUZZ_SECONDS"
"""Seconds for each test of random inputs."""
LONG_SECONDS = 150
"""For each where tests may take minutes: an hour for all of them."""
EXAMPLES = 60
"""Of each test where nothing is said."""
PATIENCE_SECONDS = 60
"""That one input may take."""
PEAK_MIB = 320
"""By which memory may grow; inputs have a few kilobytes, and what data sets may hold at once is bounded at 256 MiB."""


class Reader:
    """A process that reads inputs one after the other."""

    def __init__(self, kind, directory, sound):
        self.kind, self.directory, self.sound = kind, directory, sound
        self.process = None

    def __call__(self, path, peak_mib=PEAK_MIB):
        """Return what the process says of an input, which has to be read, or refused in words that name it."""
        if self.process is None:
            self.start()
        found = self.ask(path)
        assert not found["trouble"], found
        assert found["is_told"], found["error"]
        assert found["peak_mib"] <= peak_mib, found
        assert found["error"] is None or "MemoryError" not in found["error"], found
        return found["error"]

    def start(self):
        command = [sys.executable, HERE / "hostile_reader.py", self.kind, self.directory]
        environment = {**os.environ, "HF_TOKEN": "", "JAX_PLATFORMS": "cpu", "NO_COLOR": "1"}
        self.said = (self.directory.parent / f"{self.kind}.said").open("ab")
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.said, text=True, env=environment
        )
        found = self.ask(self.sound)
        assert found["error"] is None, found["error"]

    def ask(self, path):
        print(path, file=self.process.stdin, flush=True)
        ready, _, _ = select.select([self.process.stdout], [], [], PATIENCE_SECONDS)
        line = self.process.stdout.readline() if ready else ""
        if not line:
            code = self.process.poll() if ready else "no answer in time"
            self.close()
            raise AssertionError(f"the reader has ended ({code}) at {path}")
        return json.loads(line)

    def close(self):
        if self.process is not None:
            self.process.kill()
            with contextlib.suppress(OSError):
                self.process.communicate()
            self.process = None
            self.said.close()


@pytest.fixture(scope="module")
def reader_of(tmp_path_factory):
    """Return what starts a reader of a kind, given a sound input for it."""
    readers = []

    def reader_of(kind, sound):
        directory = tmp_path_factory.mktemp(f"reader-{kind}") / "inside"
        directory.mkdir()
        readers.append(Reader(kind, directory, sound))
        return readers[-1]

    yield reader_of
    for reader in readers:
        reader.close()


@pytest.fixture(scope="session")
def try_all(long):
    """Return what tries many inputs of a strategy: always the same ones, or random ones as long as is asked for."""
    given_seconds = os.environ.get(SECONDS_VARIABLE)
    seconds = float(given_seconds) if given_seconds else LONG_SECONDS if long else 0.0

    def try_all(strategy, check, examples=EXAMPLES):
        @settings(
            max_examples=500 if seconds else examples,
            derandomize=not seconds,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate, Phase.shrink] if not seconds else [Phase.generate],
            print_blob=True,
        )
        @given(strategy)
        def tried(drawn):
            nonlocal count
            count += 1
            if not seconds or time.monotonic() < end:
                check(drawn)

        count, end = 0, time.monotonic() + seconds
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", HypothesisWarning)  # of inputs that are long to print
            tried()
            while time.monotonic() < end:
                tried()
        print(f"{count} inputs tried")

    return try_all


@pytest.fixture
def folder_of(tmp_path):
    """Return what writes files, given by path, into a new folder in place of the last one."""
    folder = tmp_path / "input"

    def folder_of(files):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for name, content in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return folder

    return folder_of


@pytest.fixture(scope="session")
def fake_runs_in():
    """Return what writes run directories as runs leave them, below a directory of runs."""
    found = importlib.util.spec_from_file_location("fake_runs", HERE.parents[1] / "unit" / "conftest.py")
    module = importlib.util.module_from_spec(found)
    sys.modules["fake_runs"] = module
    found.loader.exec_module(module)
    return module.FakeRuns

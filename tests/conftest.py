"""What the tests share: the command line in a subprocess, and real prepared data."""

import contextlib
import hashlib
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from interpreter import start
from playwright.sync_api import sync_playwright

# Tests send both; under nohup, or in the background of a shell, they are ignored.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)
os.environ.setdefault("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1")  # or commands would start twice

RESULTS = ("distilled.npz", "metrics.jsonl", "evaluations.jsonl")


@dataclass(frozen=True)
class Programs:
    """Compiled programs that the tests have in common: most run the same tiny spec, and compiling it is most of a run.

    A process gets a directory of its own with links to them. Only what a process has written that ended well is added,
    by links too: nobody reads an entry that is half written or was left so by a kill.
    """

    path: Path

    def _common(self, environment):
        """Return the directory for one setting of the libraries: JAX's own key of a program leaves most of it out."""
        settings = sorted(
            f"{k}={v}" for k, v in environment.items() if k.startswith(("JAX_", "XLA_", "LIBTPU_", "NVIDIA_"))
        )
        directory = self.path / hashlib.sha256("\n".join(settings).encode()).hexdigest()[:16]
        directory.mkdir(parents=True, exist_ok=True)
        return directory

    def lend(self, environment):
        """Return (`environment` with a directory of these programs as JAX's cache, what gives new ones back)."""
        common = self._common(environment)
        own = Path(tempfile.mkdtemp(dir=self.path, prefix="own-"))
        _link_all(common, own)
        cache = {
            "JAX_COMPILATION_CACHE_DIR": str(own),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "JAX_PERSISTENT_CACHE_ENABLE_XLA_CACHES": "none",  # their paths would be part of the key of a program
        }
        return {**environment, **cache}, lambda: _link_all(own, common)


def _link_all(source, target):
    for path in source.iterdir():
        if path.is_file():
            with contextlib.suppress(FileExistsError):
                (target / path.name).hardlink_to(path)


@dataclass(frozen=True)
class Workplace:
    """An empty directory in which the command line runs, as a user would run it."""

    path: Path
    programs: Programs | None = None
    """None where every run directory keeps its own compiled programs, as a user's does."""

    def start(self, *arguments):
        """Start `frepo ARGUMENTS` and return the process."""
        return self._start(arguments, None)[0]

    def _start(self, arguments, warnings):
        """Start `frepo ARGUMENTS` and return (the process, what shares the programs that it has compiled)."""
        environment, share = {**os.environ, "COLUMNS": "120", "NO_COLOR": "1"}, lambda: None
        if self.programs is not None:
            environment, share = self.programs.lend(environment)
        return start(arguments, self.path, environment, warnings=warnings), share

    def frepo(self, *arguments, code=0, warnings=None):
        """Run `frepo ARGUMENTS` to its end, hold its exit code against `code` and return (stdout, stderr).

        Warnings are errors only where a test says so: after a kill JAX may warn of a half-written cache entry.
        """
        process, share = self._start(arguments, warnings)
        out, err = process.communicate(timeout=900)
        assert process.returncode == code, f"exit code {process.returncode}\n{out}\n{err}"
        assert "Traceback" not in err, err
        if code == 0:
            share()
        return out, err

    def rows(self, sql, *arguments):
        """Return the rows, by column, that `frepo query SQL ARGUMENTS` finds."""
        return json.loads(self.frepo("query", sql, "--format", "json", *arguments)[0])

    def results(self, under="runs/.stages"):
        """Return the bytes of the results of all stages below a directory, by (stage, file)."""
        paths = (self.path / under).glob("[!.]*/*")
        return {(path.parent.name, path.name): path.read_bytes() for path in paths if path.name in RESULTS}

    def wait_until(self, condition, process, seconds=240):
        """Wait until `condition()` is true, which has to be before `process` ends."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert process.poll() is None, f"ended before: {process.communicate()}"
            assert time.monotonic() < deadline, f"waited for {seconds} s"
            time.sleep(0.01)

    def spec(self, name="tiny", **overrides):
        """Write a spec that runs in seconds on the built-in digits and return its path; overrides are TOML lines."""
        tables = {
            "top": f'name = "{name}"',
            "dataset": 'name = "digits"',
            "architecture": "width = 8\ndepth = 2",
            "distill": 'method = "frepo"\nipc = 1\nsteps = 60\nbatch_size = 128\nlearning_rate = 0.01',
            "pool": "size = 3\nmax_online_updates = 10",
            "application": (
                'type = "evaluate"\nnum_models = 2\nsteps = 40\nwarmup_steps = 10\nbaselines = ["random"]\n'
                'augmentation = ["rotate", "color"]'
            ),
        }
        tables.update(overrides)
        heads = {"top": "", "application": "[[application]]\n"}
        text = "\n\n".join(heads.get(key, f"[{key}]\n") + body for key, body in tables.items() if body is not None)
        path = self.path / f"{name}.toml"
        path.write_text(text + "\n")
        return path

    def stage(self, name, label, runs="runs"):
        """Return the directory of the one stage with `label`."""
        (directory,) = (self.path / runs / name).glob(f"{label}-????????")
        return directory


@pytest.fixture(scope="session")
def programs(tmp_path_factory):
    base = tmp_path_factory.getbasetemp()
    return Programs((base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "programs")


@pytest.fixture
def workplace(tmp_path, programs):
    return Workplace(tmp_path, programs)


@pytest.fixture
def own_workplace(tmp_path):
    """A workplace whose programs are compiled for it alone and kept where a user's are."""
    return Workplace(tmp_path)


@pytest.fixture(scope="module")
def commands_compile_quickly():
    """Let XLA optimise little in commands: for files of tests of a few steps, which compile longer than they run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "true")
        yield


@pytest.fixture(autouse=True)
def compiles_quickly():
    """Let XLA optimise little in the process of a test: it compiles longer than it runs."""
    jax = sys.modules.get("jax")  # many tests need none
    if jax is None:
        yield
        return
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


@pytest.fixture(autouse=True)
def programs_of_their_own():
    """Let a test share no traced programs with others, which may have been traced under what they had changed."""
    yield
    if shared := sys.modules.get("frepo.engine.shared"):
        shared.forget()


@pytest.fixture
def optimized(compiles_quickly):
    """Let XLA optimise as it does for users, where that is what is tested."""
    sys.modules["jax"].config.update("jax_disable_most_optimizations", False)


@pytest.fixture(scope="session")
def long():
    """Return whether tests may take minutes."""
    return bool(os.environ.get("FREPO_TEST_LONG"))


def _lives(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):  # the latter where it ends in between
        return False


@pytest.fixture(scope="session")
def lives():
    """Return what says whether there is a process with an id, one that has ended and waits to be reaped left out."""
    return _lives


def _bit_by_bit(data):
    """Return the CRC-32C of bytes by its definition."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


@pytest.fixture(scope="session")
def crc_bit_by_bit():
    return _bit_by_bit


def _crc32c(data):
    """Return the checksum of TFRecord files."""
    crc = _bit_by_bit(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


@pytest.fixture(scope="session")
def tfrecord():
    """Return what frames a payload as TFRecord files do."""

    def tfrecord(payload):
        length = struct.pack("<Q", len(payload))
        return length + struct.pack("<I", _crc32c(length)) + bytes(payload) + struct.pack("<I", _crc32c(payload))

    return tfrecord


@pytest.fixture(scope="session")
def as_tfrecords(tfrecord):
    """Return what turns a directory that TFDS prepared as array records into one of its default format."""
    import tensorflow_datasets as tfds  # slow to import

    def as_tfrecords(directory):
        builder = tfds.builder_from_directory(directory)
        raw = tfds.decode.DeserializeMethod.RAW_BYTES
        for split in builder.info.splits:
            source = builder.as_data_source(split=split, deserialize_method=raw)
            content = b"".join(tfrecord(source[i]) for i in range(len(source)))
            (path,) = (Path(path) for path in builder.info.splits[split].filepaths)
            path.with_name(path.name.replace("array_record", "tfrecord")).write_bytes(content)
            path.unlink()
        info = directory / "dataset_info.json"
        info.write_text(json.dumps({**json.loads(info.read_text()), "fileFormat": "tfrecord"}))

    return as_tfrecords


@pytest.fixture
def read_events(monkeypatch):
    """Return what reads the events of the one event file of a stage, as far as a kill let them be written."""
    monkeypatch.setitem(sys.modules, "torch", None)  # tensorboardX would load it for nothing
    from tensorboardX.proto.event_pb2 import Event

    def read(directory):
        (path,) = directory.glob("events.out.tfevents.*")
        content, start, events = path.read_bytes(), 0, []
        while start + 12 <= len(content):
            length, crc = struct.unpack_from("<QI", content, start)
            assert crc == _crc32c(content[start : start + 8])
            end = start + 12 + length
            if end + 4 > len(content):
                break
            assert struct.unpack_from("<I", content, end) == (_crc32c(content[start + 12 : end]),)
            events.append(Event.FromString(content[start + 12 : end]))
            start = end + 4
        return events

    return read


@pytest.fixture
def scalars_in(read_events):
    """Return what reads (step, name, float32) of the scalars of a stage."""
    return lambda directory: [
        (event.step, value.tag, np.float32(value.simple_value))
        for event in read_events(directory)
        for value in event.summary.value
        if value.WhichOneof("value") == "simple_value"
    ]


@dataclass(frozen=True)
class SmallDisk:
    """A mounted file system of a given size."""

    path: Path

    def resize(self, size):
        subprocess.run(["mount", "-o", f"remount,size={size}", self.path], check=True)


@pytest.fixture
def small_disk(tmp_path_factory):
    """Mount a file system of a size such as `600k`; skips where that is not allowed."""
    path = tmp_path_factory.mktemp("small")
    mounted = []

    def mount(size):
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", path], capture_output=True)
        if done.returncode:
            pytest.skip("a small file system cannot be mounted here")
        mounted.append(path)
        return SmallDisk(path)

    yield mount
    for place in mounted:
        subprocess.run(["umount", place], check=True)


@pytest.fixture(scope="session")
def make_workplace(tmp_path_factory, programs):
    return lambda name: Workplace(tmp_path_factory.mktemp(name), programs)


@pytest.fixture(scope="session")
def prepared_data(tmp_path_factory):
    """Real mnist and cifar10, prepared for TFDS; skips where $FREPO_TEST_DATA does not lead to them."""
    source = Path(os.environ.get("FREPO_TEST_DATA", "/nonexistent"))
    if not (source / "prepare.py").exists():
        pytest.skip("set FREPO_TEST_DATA to a folder with contact sheets of mnist and cifar10 and their prepare.py")
    directory = tmp_path_factory.mktemp("tensorflow_datasets")
    subprocess.run(
        [sys.executable, source / "prepare.py", "--data-dir", directory, "mnist", "cifar10"],
        check=True,
        capture_output=True,
        timeout=600,
    )
    return directory


@pytest.fixture(scope="session")
def browse():
    """Return what opens a page in Chromium; its `trouble` is all that it asked for or complained about."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium on this machine")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])

        def browse(path, width=1280, scheme="light"):
            view = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
            view.trouble = []
            view.on("console", lambda message: view.trouble.append(message.text))
            view.on("pageerror", lambda error: view.trouble.append(str(error)))
            own = ("data:", path.as_uri())
            view.on("request", lambda asked: asked.url.startswith(own) or view.trouble.append(asked.url))
            view.goto(path.as_uri())
            return view

        yield browse
        browser.close()


@pytest.fixture(scope="session")
def violations():
    """Return what lists the rules of WCAG 2.2, A and AA, that a page breaks, and where."""
    tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]

    def violations(page):
        found = Axe().run(page, options={"runOnly": tags}).response
        assert len(found["passes"]) > 10
        return [(rule["id"], node["html"][:200]) for rule in found["violations"] for node in rule["nodes"]]

    return violations

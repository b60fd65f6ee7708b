"""The fault harness: commands in processes of their own, disturbed, and run again until they end well.

Each test does its fault to a directory of its own, gives the same command again until it ends with 0, and holds results
and rows against those of a run that nothing disturbed. `child/sitecustomize.py` is what happens inside the processes.
"""

import contextlib
import fcntl
import gzip
import hashlib
import json
import os
import re
import shutil
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import numpy as np
import pytest
from harness import Acknowledged, Site, Straight
from PIL import Image

HERE = Path(__file__).parent
RUN = ("run", "learned.toml", "kinds.toml", "--checkpoint-every", 4, "--log-every", 4, "--tensorboard")
"""Every kind of stage; about a hundred writes a second."""
LEARNED = ("run", "learned.toml", "--checkpoint-every", 2, "--log-every", 4, "--tensorboard")
METHODS = ("run", "methods.toml", "--checkpoint-every", 2, "--log-every", 2)
SWEEP = ("run", "sweep.toml", "--checkpoint-every", 4, "--log-every", 4, "--jobs", 2)
COMMIT = "0b27149" + "0" * 33
HUB = "hf://some-one/birds"
LIGHT = {
    "ingest": ("ingest", "--db", "again.duckdb"),
    "report": ("report", "--out", "pages"),
    "figures": ("report", "learned", "--figures", "svg", "--out", "pages"),
    "export npz": ("export", "learned", "--format", "npz", "--out", "exported"),
    "export torch": ("export", "learned", "--format", "torch", "--out", "exported"),
    "export hf": ("export", "learned", "--format", "hf", "--out", "exported"),
    "export png": ("export", "learned", "--format", "png", "--out", "exported"),
    "export safetensors": ("export", "learned", "--format", "safetensors", "--out", "exported"),
    "export tfds": ("export", "learned", "--format", "tfds", "--out", "exported"),
    "export evolution": ("export", "learned", "--format", "gif", "--out", "exported"),
    "prepare archive": ("data", "prepare", "imagenette", "--from", "imagenette.tgz", "--data-dir", "data"),
    "prepare arrays": ("data", "prepare", "mnist", "--from", "mnist", "--data-dir", "data"),
    "download": ("data", "prepare", HUB, "--revision", COMMIT, "--data-dir", "data"),
    "decode": ("run", "folder.toml", "--runs-dir", "decoded", "--db", "again.duckdb"),
    "import": ("import", "set.npz", "--spec", "learned.toml", "--runs-dir", "imported", "--db", "again.duckdb"),
    "rm": ("rm", "kinds"),
}
"""Commands that take a second or two on a site where RUN is finished."""
KEEP = "FREPO_TEST_KEEP"


def copy_specs(path):
    for spec in (HERE / "specs").glob("*.toml"):
        shutil.copy(spec, path)


@pytest.fixture
def site(tmp_path, programs):
    """An empty site with the specs."""
    path = tmp_path / "site"
    path.mkdir()
    copy_specs(path)
    return Site(path, programs)


@pytest.fixture(scope="session")
def kept(tmp_path_factory):
    """Where undisturbed runs are that the workers of pytest share; $FREPO_TEST_KEEP keeps them for the next piece."""
    base = tmp_path_factory.getbasetemp()
    return Path(os.environ.get(KEEP) or (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base))


@pytest.fixture(scope="session")
def programs(programs, kept):
    return type(programs)(kept / "programs")


@pytest.fixture(scope="session")
def undisturbed(kept, programs):
    """Return what gives the site where a command was run that nothing disturbed."""

    def undisturbed(name, prepare, *command, **environment):
        path = kept / "undisturbed" / name.replace(" ", "-")
        path.mkdir(parents=True, exist_ok=True)
        found = Straight(path / "site", programs, environment)
        with (path / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (path / "seconds").exists():
                found.path.mkdir()
                prepare(found.path)
                found.record(*command)
            found.recall(name)
        return found

    return undisturbed


@pytest.fixture(scope="session")
def straight(undisturbed):
    """Every kind of stage, computed by one command that nothing disturbed."""
    return undisturbed("run", copy_specs, *RUN)


@pytest.fixture(scope="session")
def straight_learned(undisturbed):
    """A learned set and its evaluation, likewise."""
    return undisturbed("learned", copy_specs, *LEARNED)


@pytest.fixture(scope="session")
def straight_methods(undisturbed):
    """The other methods, likewise."""
    return undisturbed("methods", copy_specs, *METHODS)


@pytest.fixture(scope="session")
def straight_sweep(undisturbed):
    """Two seeds in one process, likewise."""
    return undisturbed("sweep", copy_specs, *SWEEP[:-2])


@pytest.fixture(scope="session")
def straight_jobs(undisturbed):
    """The same in two processes."""
    return undisturbed("jobs", copy_specs, *SWEEP)


@pytest.fixture(scope="session")
def commands():
    return SimpleNamespace(RUN=RUN, LEARNED=LEARNED, METHODS=METHODS, SWEEP=SWEEP, LIGHT=LIGHT)


@pytest.fixture
def acknowledged():
    return Acknowledged()


@pytest.fixture(scope="session")
def raw(tmp_path_factory):
    """Files that data sets are made from: an archive, the files of MNIST, a folder of images; and a set to import."""
    path, random = tmp_path_factory.mktemp("raw"), np.random.default_rng(0)
    for folder, wnids in (("imagenette2-160", ("n01440764", "n03888257")), ("photos", ("cat", "dog"))):
        for split, count in ((("train"), 6), ("val" if folder != "photos" else "test", 2)):
            for wnid in wnids:
                (path / folder / split / wnid).mkdir(parents=True)
                for number in range(count):
                    pixels = random.integers(0, 256, (8, 8, 3), np.uint8)
                    Image.fromarray(pixels).save(path / folder / split / wnid / f"{wnid}_{number}.png")
    shutil.make_archive(str(path / "imagenette"), "gztar", path, "imagenette2-160")
    (path / "imagenette.tar.gz").rename(path / "imagenette.tgz")
    shutil.rmtree(path / "imagenette2-160")
    (path / "mnist").mkdir()
    for word, count in (("train", 40), ("t10k", 10)):
        images, labels = random.integers(0, 256, (count, 28, 28), np.uint8), (np.arange(count) % 10).astype(np.uint8)
        for array, kind in ((images, "images-idx3"), (labels, "labels-idx1")):
            header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
            (path / "mnist" / f"{word}-{kind}-ubyte.gz").write_bytes(gzip.compress(header + array.tobytes(), mtime=0))
    np.savez(path / "set.npz", images=random.standard_normal((10, 8, 8, 1), np.float32), labels=np.arange(10))
    return path


class Hub(BaseHTTPRequestHandler):
    """Answers as the Hub does, of one data set of one file, and sends that file slowly, from where it is asked to."""

    content = np.random.default_rng(0).bytes(2_000_000)
    seconds = 1.0
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        path = urlsplit(self.path).path
        if path.endswith(".parquet"):
            self.send_file()
        elif "/tree/" in path or "/revision/" in path:
            file = {"type": "file", "path": "data/train-00000-of-00001.parquet", "size": len(self.content)}
            file["lfs"] = {"oid": hashlib.sha256(self.content).hexdigest(), "size": len(self.content)}
            self.send_json([file] if "/tree/" in path else {"sha": COMMIT, "cardData": {"license": "mit"}})
        else:
            self.send_json({}, 404)

    def send_json(self, value, status=200):
        content = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def send_file(self):
        asked = re.match(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(asked[1]) if asked else 0
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(len(self.content) - start))
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{len(self.content) - 1}/{len(self.content)}")
        self.end_headers()
        part = len(self.content) // 50
        with contextlib.suppress(ConnectionError):  # who asked is dead
            for position in range(start, len(self.content), part):
                self.wfile.write(self.content[position : position + part])
                time.sleep(self.seconds / 50)


@pytest.fixture(scope="session")
def hub():
    """Serve a data set of the Hub and return the address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="session")
def light(undisturbed, straight, raw, hub):
    """Return what gives a site for a light command in a path, or the one where it was done and nothing disturbed it."""
    environment = {"HF_ENDPOINT": hub, "no_proxy": "127.0.0.1", "FREPO_MIRROR": ""}

    def copy(path):
        shutil.copytree(straight.path, path, symlinks=True, dirs_exist_ok=True)
        shutil.copytree(raw, path, dirs_exist_ok=True)

    def light(name, path=None):
        if path is None:
            return undisturbed(name, copy, *LIGHT[name], **environment)
        copy(path)
        return Site(path, straight.programs, environment)

    return light


@pytest.fixture
def finished(site, straight):
    """A site of one's own in which that run is finished."""
    shutil.copytree(straight.path, site.path, symlinks=True, dirs_exist_ok=True)
    return site

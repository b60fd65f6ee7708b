"""Files over HTTP, from a server of this process that behaves well and badly."""

import hashlib
import os
import signal
import threading
import time
import urllib.request
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import numpy as np
import pytest

from frepo.data.fetch import download as module
from frepo.data.fetch import obtain as obtaining
from frepo.data.fetch.download import DownloadError, Remote, SlowSourceError, download
from frepo.data.fetch.obtain import obtain
from frepo.errors import FrepoError, Interrupted
from frepo.signals import stop_on_signals

CONTENT = np.random.default_rng(0).bytes(300_000)
DIGEST = hashlib.sha256(CONTENT).hexdigest()


class Server:
    """Answers `/WAY/file` in the way of that name; `asked` are the paths and ranges of all requests."""

    def __init__(self):
        self.asked = []
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def do_GET(self):
                ranged = self.headers.get("Range")
                owner.asked.append((self.path, ranged))
                count = sum(path == self.path for path, _ in owner.asked)
                getattr(self, urlsplit(self.path).path.split("/")[1])(int(ranged[6:-1]) if ranged else 0, count)

            def head(self, status, start=0, length=None, **headers):
                self.send_response(status)
                if status == 206:
                    self.send_header("Content-Range", f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}")
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(CONTENT) - start if length is None else length))
                self.end_headers()

            def good(self, start, _):
                self.head(206 if start else 200, start)
                self.wfile.write(CONTENT[start:])

            def cut(self, start, _):  # no more than 100,000 bytes at a time
                self.head(206 if start else 200, start)
                self.wfile.write(CONTENT[start : start + 100_000])

            def once(self, _start, count):  # cut the first time, and whole from the start from then on
                self.head(200)
                self.wfile.write(CONTENT[:100_000] if count == 1 else CONTENT)

            def stuck(self, *_):  # nothing ever comes of what the header says
                self.head(200)

            def moved(self, *_):
                self.head(302, length=0, Location="/good/file")

            def busy(self, start, count):
                if count < 3:
                    self.head(503, length=0)
                else:
                    self.good(start, count)

            def missing(self, *_):
                self.head(404, length=0)

            def other(self, *_):
                self.head(200)
                self.wfile.write(bytes(len(CONTENT)))

            def longer(self, *_):
                self.head(200, length=len(CONTENT) + 1)
                self.wfile.write(CONTENT + b"x")

            def slow(self, start, _):
                self.head(206 if start else 200, start)
                for place in range(start, len(CONTENT), 10_000):
                    self.wfile.write(CONTENT[place : place + 10_000])
                    time.sleep(0.02)

            def end(self, start, _):  # of a file that is shorter here
                self.head(416, length=0) if start else self.good(start, 0)

            def beyond(self, *_):  # whatever is asked for
                self.head(416, length=0)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.handle_error = lambda *_: None  # the other side has hung up, as it may
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def url(self, way, name="file"):
        return f"http://127.0.0.1:{self._server.server_port}/{way}/{name}"

    def file(self, way):
        return Remote("file", len(CONTENT), DIGEST, self.url(way))

    def close(self):
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(module, "PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(urllib.request, "_opener", None)  # it is made of the environment, once
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", obtaining.MIRROR):
        monkeypatch.delenv(name, raising=False)
    server = Server()
    yield server
    server.close()


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("way", ["good", "cut", "once", "moved", "busy"])
def test_a_file_comes_whole_and_leaves_no_part(server, tmp_path, way):
    path = download(server.file(way), tmp_path, hurry=False)
    assert path.read_bytes() == CONTENT
    assert names(tmp_path) == ["file"]
    before = len(server.asked)
    assert download(server.file(way), tmp_path, hurry=False) == path
    assert len(server.asked) == before  # it is there


def test_a_cut_connection_is_taken_up_where_it_ended(server, tmp_path):
    download(server.file("cut"), tmp_path, hurry=False)
    assert [ranged for _, ranged in server.asked] == [None, "bytes=100000-", "bytes=200000-"]


@pytest.mark.parametrize("way", ["good", "end"])
def test_a_part_of_an_earlier_attempt_is_used_or_replaced(server, tmp_path, way):
    (tmp_path / "file.part").write_bytes(CONTENT[:123])
    assert download(server.file(way), tmp_path, hurry=False).read_bytes() == CONTENT
    assert server.asked[0][1] == "bytes=123-"


def test_a_damaged_file_in_place_is_fetched_again(server, tmp_path):
    (tmp_path / "file").write_bytes(CONTENT[1:])
    assert download(server.file("good"), tmp_path, hurry=False).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("way", "expected", "left"),
    [
        ("stuck", r"the connection ended after 0 of 300,000 bytes", ["file.part"]),
        ("missing", r"/missing/file: 404 Not Found", []),
        ("beyond", r"/beyond/file: 416 ", []),
        ("other", rf"is another file than the published one: its SHA-256 is .*, not {DIGEST}", []),
        ("longer", r"is larger than the 300,000 bytes", ["file.part"]),
    ],
)
def test_what_a_source_does_wrong_is_named_and_never_taken_for_the_file(server, tmp_path, way, expected, left):
    with pytest.raises(DownloadError, match=expected):
        download(server.file(way), tmp_path, hurry=False)
    assert names(tmp_path) == left
    assert len(server.asked) == (module.TRIES if way in ("stuck", "beyond") else 1)
    assert download(server.file("good"), tmp_path, hurry=False).read_bytes() == CONTENT


def test_a_part_with_other_bytes_is_thrown_away(server, tmp_path):
    (tmp_path / "file.part").write_bytes(bytes(123))
    with pytest.raises(DownloadError, match="another file"):
        download(server.file("good"), tmp_path, hurry=False)
    assert download(server.file("good"), tmp_path, hurry=False).read_bytes() == CONTENT


def test_a_full_disk_is_named_and_the_part_kept(server, tmp_path, file_size_limit):
    with file_size_limit(70_000), pytest.raises(FrepoError, match=r"is full .*: 70,000 bytes are kept in .*file\.part"):
        download(server.file("good"), tmp_path, hurry=False)
    assert (tmp_path / "file.part").read_bytes() == CONTENT[:70_000]
    download(server.file("good"), tmp_path, hurry=False)
    assert server.asked[-1][1] == "bytes=70000-"


def test_a_signal_ends_a_download_and_keeps_its_part(server, tmp_path):
    timer = threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGUSR1))
    timer.start()
    with stop_on_signals(), pytest.raises(Interrupted):
        download(server.file("slow"), tmp_path, hurry=False)
    part = tmp_path / "file.part"
    assert part.read_bytes() == CONTENT[: part.stat().st_size]
    assert 0 < part.stat().st_size < len(CONTENT)


def test_a_slow_source_is_given_up_in_a_hurry_only(server, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "SLOW_SECONDS", 0.1)
    monkeypatch.setattr(module, "SLOW_BYTES_PER_SECOND", 10_000_000)
    with pytest.raises(SlowSourceError, match=r"gives [\d,]+ kB/s only"):
        download(server.file("slow"), tmp_path, hurry=True)
    assert 0 < (tmp_path / "file.part").stat().st_size < len(CONTENT)
    assert download(server.file("slow"), tmp_path, hurry=False).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("ways", "asked"),
    [
        (["good", "missing"], ["good"]),
        (["missing", "good"], ["missing", "good"]),
        (["other", "good"], ["other", "good"]),
        (["slow", "good"], ["slow", "good"]),
        (["slow", "missing"], ["slow", "missing", "slow"]),
        (["slow"], ["slow"]),
    ],
)
def test_sources_are_tried_in_turn_and_a_slow_one_last(server, tmp_path, monkeypatch, ways, asked):
    monkeypatch.setattr(module, "SLOW_SECONDS", 0.1)
    monkeypatch.setattr(module, "SLOW_BYTES_PER_SECOND", 10_000_000)
    monkeypatch.setitem(obtaining.PUBLISHED, "set", tuple((server.file(way),) for way in ways))
    (path,) = obtain("set", tmp_path / "down")
    assert path.read_bytes() == CONTENT
    assert [path.split("/")[1] for path, _ in server.asked] == asked


def test_the_mirror_comes_first_and_need_not_have_everything(server, tmp_path, monkeypatch):
    monkeypatch.setenv(obtaining.MIRROR, server.url("good", ""))
    there = (server.file("missing"),)
    monkeypatch.setitem(obtaining.PUBLISHED, "set", (there,))
    (path,) = obtain("set", tmp_path / "down")
    assert path.read_bytes() == CONTENT
    assert server.asked == [("/good/set/file", None)]
    monkeypatch.setenv(obtaining.MIRROR, server.url("missing", ""))
    monkeypatch.setitem(obtaining.PUBLISHED, "set", ((replace(there[0], url=server.url("good")),),))
    obtain("set", tmp_path / "again")
    assert [path for path, _ in server.asked[1:]] == ["/missing/set/file", "/good/file"]


def test_where_no_source_gives_it_all_of_them_are_named(server, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(obtaining.PUBLISHED, "set", ((server.file("missing"),), (server.file("other"),)))
    with pytest.raises(FrepoError, match=r"(?s)'set' could not be fetched.*/missing/.*/other/.*--from FILES"):
        obtain("set", tmp_path / "down")
    assert "fetching 0.3 MB from 127.0.0.1" in capsys.readouterr().err


def test_a_proxy_of_the_environment_is_used(server, tmp_path, monkeypatch):
    monkeypatch.setenv("http_proxy", server.url("", "").removesuffix("//"))
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    address = "http://nowhere.invalid/good/file"
    assert download(replace(server.file("good"), url=address), tmp_path, hurry=False).read_bytes() == CONTENT
    assert server.asked == [(address, None)]

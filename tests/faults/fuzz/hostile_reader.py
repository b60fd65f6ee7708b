"""Reads what strangers may have made, one after the other, and says of each what came of it and what it did besides.

    python hostile_reader.py KIND DIRECTORY

A line of standard input is the path of an input; the line of standard output that answers it is JSON: `error`, None
where it was read; `is_told`, whether that is an error of frepo's own; `trouble`, all that no input may bring about;
`peak_mib`, by how much memory grew meanwhile. Nothing may be written outside of DIRECTORY. The first input is a sound
one: what it imports is there afterwards.
"""

import contextlib
import importlib.metadata
import json
import os
import resource
import sys
import threading
import traceback
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

from frepo.errors import FrepoError

MOST_ADDRESSES = 2**36
"""Bytes of address space: so that a test that fails does not take the machine along."""
FORBIDDEN = (
    *("socket.connect", "socket.getaddrinfo", "socket.sendto", "subprocess.Popen", "os.system", "os.exec", "os.spawn"),
    *("os.posix_spawn", "os.fork", "os.forkpty", "pty.spawn", "pickle.find_class", "webbrowser.open", "os.kill"),
)
CHANGING = (
    *("os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.truncate", "os.chmod", "os.chown"),
    *("os.utime", "shutil.rmtree", "shutil.move", "os.mkfifo", "os.mknod", "os.setxattr"),
)
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class Watch:
    """An audit hook: what is done that no file may bring about."""

    def __init__(self, directory):
        self.directory = str(directory)
        self.input = None
        """Where the input may be changed, as its owner's commands do."""
        self.trouble = []
        self.packages = None
        self.server = None
        self.busy = threading.local()

    def __call__(self, event, arguments):
        if getattr(self.busy, "now", False):
            return
        self.busy.now = True
        try:
            self.note(event, arguments)
        finally:
            self.busy.now = False

    def note(self, event, arguments):
        if event == "socket.connect" and self.server is not None and arguments[1] == self.server:
            return
        if event == "socket.getaddrinfo" and self.server is not None and arguments[0] == self.server[0]:
            return
        if event in FORBIDDEN:
            self.trouble.append(f"{event} {arguments!r}"[:300])
        elif event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITING:
            self.must_be_inside(event, arguments[0], -1)
        elif event in CHANGING:
            self.must_be_inside(event, arguments[0], arguments[-1])
        elif event == "import" and self.packages is not None:
            package = str(arguments[0]).partition(".")[0]
            if package not in self.packages:
                self.trouble.append(f"import of {arguments[0]}")

    def must_be_inside(self, event, path, place):
        if isinstance(path, int):
            return
        path = Path(os.fsdecode(path))
        if not path.is_absolute() and isinstance(place, int) and place >= 0:
            path = Path(f"/proc/self/fd/{place}").readlink() / path
        folder = path.absolute().parent.resolve()
        allowed = [place for place in (self.directory, self.input, "/dev") if place]
        if not any(folder.is_relative_to(place) for place in allowed):
            self.trouble.append(f"{event} {path}")


def spec(path):
    from frepo.plan import compile_plan
    from frepo.spec import load_specs

    for loaded in load_specs(path)[:3]:
        compile_plan(loaded.spec)


def foreign(path):
    from frepo.exchange.imports.read import read_arrays

    read_arrays(path)


def state(path):
    import jax
    import numpy as np

    from frepo.engine.checkpoint import restore_newest
    from frepo.engine.environment import must_go_on_from

    like = {"images": jax.ShapeDtypeStruct((4, 8), np.float32), "ages": jax.ShapeDtypeStruct((3,), np.int32)}
    restore_newest(path, like, must_go_on_from)


def decoded(source, resolution=None):
    import shutil

    from frepo.data.cache import NewEntry
    from frepo.data.decode import decode

    entry = Path("entry")
    shutil.rmtree(entry, ignore_errors=True)
    entry.mkdir()
    decode(source, resolution, None, NewEntry(entry))


def folder(path):
    from frepo.data.outside import mark_of_files
    from frepo.data.sources.folder import folder_source
    from frepo.spec import Dataset

    mark_of_files(Dataset(name="image_folder", path=str(path)), path)
    decoded(folder_source(path))
    decoded(folder_source(path), 4)


def parquet(path):
    from frepo.data.sources.parquet import local_source
    from frepo.spec import Dataset

    decoded(local_source(Dataset(name="parquet", path=str(path))))


def tfds(path):
    from array_record.python import array_record_module  # noqa: F401 (loaded where a data set needs it)

    from frepo.data.sources.tfds import tfds_source

    decoded(tfds_source("pets:1.0.0", path))


def prepared(path):
    """Read data sets that frepo has prepared, in the data directory of a stranger."""
    from frepo.data.sources.arrays import arrays_source
    from frepo.data.sources.hub import hub_source
    from frepo.data.sources.prepared import own_source
    from frepo.spec import Dataset

    sources = (
        lambda: own_source("imagenette", path),
        lambda: arrays_source("mnist", path),
        lambda: hub_source(Dataset(name="hf://a/b", revision="0" * 40), path),
    )
    errors = []
    for source in sources:
        try:
            decoded(source())
        except FrepoError as error:
            errors.append(str(error))
    if errors:
        raise FrepoError("\n".join(errors))


def archive(path):
    import shutil

    from frepo.data.sources.prepared import prepare_own

    shutil.rmtree("data", ignore_errors=True)
    Path("data").mkdir()
    prepare_own("imagenette", path, Path("data"))


def published(path):
    from frepo.data.fetch.readers import read_published

    name = path.name.partition("-")[0]
    read_published(name, [path])


def hub(path):
    """Fetch a data set of the Hub from a server that answers with what stands in the file."""
    import shutil

    from frepo.data.fetch import download
    from frepo.data.fetch.hub_files import prepare_hub

    answers = json.loads(path.read_bytes())
    Server.answers = {name: text.encode("latin-1") for name, text in answers.items()}
    download.PAUSE_SECONDS = 0.0
    shutil.rmtree("data", ignore_errors=True)
    prepare_hub("hf://a/b", {}, Path("data"))


class Server(BaseHTTPRequestHandler):
    """Gives any client the answer to the kind of thing that it asks for."""

    answers: ClassVar[dict[str, bytes]] = {}

    def do_GET(self):
        kind = next((kind for kind in ("revision", "tree", "resolve") if f"/{kind}/" in self.path), "")
        content = self.answers.get(kind, b"")
        self.send_response(200 if content else 404)
        if kind == "tree" and (link := self.answers.get("link")):
            self.send_header("Link", "".join(c for c in link.decode("latin-1") if c.isprintable()))
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(content)

    def log_message(self, *arguments):
        pass


def runs(path):
    """Take a directory of runs into a database, look at its stages, and remove them."""
    from frepo.rundir.removal import plan_removal, remove
    from frepo.rundir.standing import standing
    from frepo.store.find import as_recorded
    from frepo.store.ingest import ingest
    from frepo.store.tables import list_runs

    database = Path("results.duckdb")
    found = ingest(database, path)
    with as_recorded(database):
        list_runs(database)
    for place in path.glob("*/*"):
        if place.is_dir():
            with contextlib.suppress(OSError):
                standing(place)
    for name in {place.parent.name for place in path.glob("*/run-*.json")}:
        with contextlib.suppress(FrepoError):
            remove(plan_removal(path, [name.translate({ord(c): "?" for c in "[]*"})]))
    if found.problems:
        raise FrepoError("\n".join(found.problems))


def pages(path):
    """Show a directory of runs."""
    from frepo.store.ingest import ingest

    found = ingest(Path("results.duckdb"), path)
    shown(Path("results.duckdb"), path)
    if found.problems:
        raise FrepoError("\n".join(found.problems))


def shown(database, runs_dir):
    from frepo.report.page import write_report
    from frepo.store.find import as_recorded, newest_runs
    from frepo.store.tables import list_runs

    with as_recorded(database):
        if list_runs(database).rows:
            newest_runs(database)
            write_report(database, runs_dir, [], Path("reports"))


def database(path):
    """Show what is in a stranger's database, and bring it up to one's own runs."""
    from frepo.store.ingest import ingest
    from frepo.store.query import query

    errors = []
    for use in (
        lambda: query(path, "SELECT * FROM accuracy_table"),
        lambda: shown(path, path.parent / "runs"),
        lambda: ingest(path, path.parent / "runs"),
    ):
        try:
            use()
        except FrepoError as error:
            errors.append(str(error))
    if errors:
        raise FrepoError("\n".join(errors))


KINDS = {
    reader.__name__: reader
    for reader in (
        *(spec, foreign, state, folder, parquet, tfds, prepared, archive, published, hub, runs, pages, database),
    )
}


def kib(name):
    with Path("/proc/self/status").open() as file:
        return next(int(line.split()[1]) for line in file if line.startswith(f"{name}:"))


def answer(read, path, watch):
    with Path("/proc/self/clear_refs").open("w") as file:
        file.write("5")  # the largest size is measured from here on
    watch.trouble, watch.input = [], str(path) if read in (state, runs, prepared) else None
    watch.input = str(path.parent) if read is database else watch.input
    before = kib("VmRSS")
    error, is_told = None, True
    try:
        read(path)
    except FrepoError as caught:
        error = str(caught)
    except BaseException:
        error, is_told = traceback.format_exc(limit=-12), False
    return {
        "error": error,
        "is_told": is_told,
        "trouble": watch.trouble,
        "peak_mib": round((kib("VmHWM") - before) / 1024, 1),
    }


def main():
    kind, directory = sys.argv[1], Path(sys.argv[2]).resolve()
    os.chdir(directory)
    sys.dont_write_bytecode = True
    if kind not in ("pages", "database"):  # charts are drawn by V8, which reserves terabytes of addresses
        resource.setrlimit(resource.RLIMIT_AS, (MOST_ADDRESSES, MOST_ADDRESSES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    watch = Watch(directory)
    if kind == "hub":
        server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        watch.server = server.server_address
        os.environ["HF_ENDPOINT"] = f"http://127.0.0.1:{server.server_port}"
    sys.addaudithook(watch)
    for line in sys.stdin:
        found = answer(KINDS[kind], Path(line.rstrip("\n")), watch)
        if watch.packages is None:
            installed = {*sys.modules, *importlib.metadata.packages_distributions(), "olefile", "cython"}
            watch.packages = installed | sys.stdlib_module_names - {"antigravity", "this"}
        print(json.dumps(found), file=out, flush=True)


if __name__ == "__main__":
    main()

"""The harness knows every writer: what is not written in any of its runs, or not in its table, fails here."""

import ast
import re
import tomllib
from pathlib import Path

import pytest

import frepo

PACKAGE = Path(frepo.__file__).parent
TABLE = tomllib.loads((Path(__file__).parent / "files.toml").read_text())

METHODS = {
    *("write_text", "write_bytes", "touch", "mkdir", "unlink", "rename", "symlink_to", "hardlink_to", "rmdir", "chmod"),
    *("extractall", "EventsWriter", "posix_fallocate"),
}
FUNCTIONS = {
    "os": {
        "replace",
        "rename",
        "unlink",
        "remove",
        "mkdir",
        "makedirs",
        "symlink",
        "link",
        "utime",
        "chmod",
        "truncate",
    },
    "shutil": {"rmtree", "copy", "copy2", "copyfile", "copymode", "copytree", "move", "make_archive"},
    "tempfile": {"mkstemp", "mkdtemp", "NamedTemporaryFile", "TemporaryDirectory", "TemporaryFile"},
    "np": {"save", "savez", "savez_compressed", "memmap"},
    "sqlite3": {"connect"},
}
OWN = {
    "write_atomically",
    "directory_written_atomically",
    "append_rows",
    "set_aside",
    "save_state",
    "TemporaryDirectory",
}
"""Called by name: of frepo, or imported so."""

ELSEWHERE = {
    "data/prepare.py:_fetched": "needs the digests of a publisher: tests/unit/test_publishers.py",
    "execute/job.py:Job.mark_failed": "a stage that fails: tests/program/test_jobs.py",
    "execute/slurm/queue.py:remember": "needs a cluster: tests/slurm",
    "rundir/arrays.py:npz_bytes": "into memory",
    "rundir/directory.py:set_damaged_aside": "after damage: test_damage.py",
    "rundir/directory.py:set_run_aside": "--fresh: tests/program/test_resume.py",
    "rundir/lease.py:_discard": "after a kill: test_kills.py",
    "rundir/lease.py:_server_time": "only to see its time: tests/unit/test_lease.py",
    "rundir/rows.py:MetricRows.begin": "when it goes on: test_kills.py",
    "store/connect.py:connect": "a copy for one connection in the directory for temporary files",
    "store/rebuild.py:_remove": "a database of an older frepo: tests/unit/test_store.py",
    "store/rebuild.py:rebuild": "a database of an older frepo: tests/unit/test_store.py",
}
"""Writers that no command of the harness reaches, and why."""


def writes(call):
    """Return whether a call writes, as far as its name and its arguments tell."""
    function, arguments = call.func, call.args
    if isinstance(function, ast.Name):
        return function.id in OWN or (function.id == "open" and mode_writes(call, 1))
    if not isinstance(function, ast.Attribute):
        return False
    if isinstance(function.value, ast.Name) and function.attr in FUNCTIONS.get(function.value.id, ()):
        return True
    if function.attr == "open":
        return mode_writes(call, 0) or "O_CREAT" in ast.unparse(call)
    if function.attr == "replace":  # of a path: that of a text takes two arguments, that of a record only names
        return len(arguments) == 1 and not call.keywords
    return function.attr in METHODS or function.attr in OWN


def mode_writes(call, position):
    mode = next((word.value for word in call.keywords if word.arg == "mode"), None)
    if mode is None and len(call.args) > position:
        mode = call.args[position]
    literals = [node.value for node in ast.walk(mode) if isinstance(node, ast.Constant)] if mode else []
    return any(
        isinstance(value, str) and re.fullmatch(r"[rwaxbt+]{1,3}", value) and set(value) & set("wax+")
        for value in literals
    )


def functions(node, above=""):
    """Yield (qualified name, node) of each function, a name of its own for those within others."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef):
            yield from functions(child, f"{above}{child.name}.")
        elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield f"{above}{child.name}", child
            yield from functions(child, f"{above}{child.name}.<locals>.")
        else:
            yield from functions(child, above)


def own_calls(function):
    """Yield the calls of a function without those of functions within it."""
    for child in ast.iter_child_nodes(function):
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            if isinstance(child, ast.Call):
                yield child
            yield from own_calls(child)


def writers(root=PACKAGE):
    """Return `file:function` of each function of frepo that calls what writes."""
    found = set()
    for path in sorted(root.rglob("*.py")):
        for name, function in functions(ast.parse(path.read_text())):
            if any(map(writes, own_calls(function))):
                found.add(f"{path.relative_to(root)}:{name}")
    return found


@pytest.fixture(scope="module")
def traces(straight, straight_jobs, light, commands):
    """The writes of all commands of the harness."""
    found = [(straight.path, write) for write in straight.traces["run"]]
    found += [(straight_jobs.path, write) for write in straight_jobs.traces["jobs"]]
    for name in commands.LIGHT:
        site = light(name)
        found += [(site.path, write) for write in site.traces[name]]
    return found


def test_every_function_that_writes_is_disturbed(traces):
    reached = {place for _, write in traces for place in write["places"]}
    unreached = writers() - reached
    assert unreached == set(ELSEWHERE), (
        f"not written by any command of the harness: {sorted(unreached - set(ELSEWHERE))}; add a command to LIGHT in "
        f"tests/faults/conftest.py. Reached after all: {sorted(set(ELSEWHERE) - unreached)}"
    )


def test_every_file_that_is_written_is_in_the_table_of_damages(traces):
    patterns = [pattern for part in TABLE.values() for pattern in part.values()]
    strange = set()
    for root, write in traces:
        if write["event"] not in ("open", "os.rename", "os.symlink"):
            continue
        name = str(Path(write["path"]).relative_to(root))
        if re.search(r"\.tmp\b|/\.clock-|\.writable$|/\.[^/]*\.new\b", name) or (root / name).is_dir():
            continue
        if not any(re.fullmatch(pattern, name) for pattern in patterns):
            strange.add(name)
    assert strange == set(), "add it to files.toml, and damage it in test_damage.py"


def test_a_new_writer_is_found(tmp_path):
    (tmp_path / "new.py").write_text(
        "def f(p):\n    p.open('w')\n\nclass A:\n    def g(self, p):\n        def h():\n            os.replace(p, p)\n"
        "def reads(p, t):\n    p.open()\n    t.replace('a', 'b')\n    open(p, 'rb')\n"
    )
    assert writers(tmp_path) == {"new.py:f", "new.py:A.g.<locals>.h"}

"""Every file that frepo writes, damaged in every way: noticed, set aside, named, and made again with the same bits."""

import dataclasses
import os
import re
import shutil
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

TABLE = tomllib.loads((Path(__file__).parent / "files.toml").read_text())
FILES, UNFINISHED, CACHED = TABLE["finished"], TABLE["unfinished"], TABLE["cached"]

ONLY_SHOWN = ("sheet", "events")
"""Pictures and an index for TensorBoard: nothing is computed from them, and whoever wants their room may take it."""

WITHOUT_POWER = (
    "setpriv",
    "--inh-caps=-dac_override,-dac_read_search",
    "--bounding-set=-dac_override,-dac_read_search",
)
"""Let root be refused what others are refused."""


def truncate(path):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def zero(path):
    path.write_bytes(bytes(path.stat().st_size))


def delete(path):
    path.unlink()


def unreadable(path):
    path.chmod(0)


def directory(path):
    path.unlink()
    path.mkdir()


KINDS = (truncate, flip, zero, delete, unreadable, directory)


def files(site, pattern):
    found = (path for path in site.path.rglob("*") if not path.is_symlink() and path.is_file())
    return sorted(path for path in found if re.fullmatch(pattern, str(path.relative_to(site.path))))


def place(path):
    """Return the name that a message may give to a file: its own, or that of the stage or cache entry that it is in."""
    return path.parent.parent.name if path.parent.name in ("images", "network", "state") else path.parent.name


def damaged(site, kinds, random):
    """Damage one file of each kind, of a stage of its own where there is one, and return path and kind of each."""
    found, used = [], set()
    for what, kind in kinds.items():
        paths = files(site, FILES[what])
        assert paths, what
        free = [path for path in paths if place(path) not in used] or paths
        path = free[random.integers(len(free))]
        used.add(place(path))
        found.append((what, path, kind))
    for _, path, kind in found:
        if path.exists():
            kind(path)
    return found


def is_named(path, said):
    return path.name in said or place(path) in said


def completes(site, command, found):
    """Give the command until it ends well, making readable what it says that it cannot read."""
    said, closed = "", [path for _, path, kind in found if kind is unreadable]
    while True:
        done = site.frepo(*command)
        said += done.err
        if done.code == 0:
            return said
        assert done.code in (1, 2), said  # 2: the file of an option
        named = [path for path in closed if is_named(path, done.err)]
        assert named, said
        for path in named:
            closed.remove(path)
            if path.exists():
                path.chmod(0o644)


@pytest.mark.parametrize("rotation", range(len(KINDS)))
def test_a_finished_run(finished, straight, commands, long, rotation):
    if rotation not in (0, 3) and not long:
        pytest.skip("the long form: FREPO_TEST_LONG=1")
    if shutil.which("setpriv") and os.geteuid() == 0:
        finished.prefix = WITHOUT_POWER
    kinds = {what: KINDS[(number + rotation) % len(KINDS)] for number, what in enumerate(FILES)}
    if os.geteuid() == 0 and not finished.prefix:
        kinds = {what: kind for what, kind in kinds.items() if kind is not unreadable}
    found = damaged(finished, kinds, np.random.default_rng(rotation))
    said = completes(finished, commands.RUN, found)
    for what, path, kind in found:
        if kind not in (delete, unreadable) and what not in ONLY_SHOWN:
            assert is_named(path, said), (what, path, kind.__name__, said)
    assert finished.frepo("report").code == 0
    shown = [path for what, path, _ in found if what in ONLY_SHOWN]
    for path in shown:
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        original = straight.path / path.relative_to(finished.path)
        path.parent.mkdir(exist_ok=True)
        shutil.copy(original, path)
    straight.must_equal(finished)


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory, straight_learned, commands):
    """A run that was killed when it had two saved states and was about to put a third in place."""
    path = tmp_path_factory.mktemp("interrupted") / "site"
    shutil.copytree(straight_learned.path, path, symlinks=True, ignore=shutil.ignore_patterns("runs", "*.duckdb*"))
    site = dataclasses.replace(straight_learned, path=path)
    saves = [write for write in straight_learned.traces["learned"] if SAVE in write["places"]]
    third = [number for number, write in enumerate(saves, 1) if write["event"] == "os.rename"][2]
    done = site.frepo(*commands.LEARNED, fault={"place": SAVE, "at": third, "signal": signal.SIGKILL})
    assert done.code == -signal.SIGKILL
    assert len(files(site, UNFINISHED["state"])) == 2
    assert len(files(site, UNFINISHED["lease"])) == 1
    return site


SAVE = "engine/checkpoint.py:save_state"


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("states", [1, 2])
def test_an_unfinished_run(site, interrupted, straight_learned, commands, long, kind, states):
    if not long and (kind, states) not in ((flip, 1), (directory, 2)):
        pytest.skip("the long form: FREPO_TEST_LONG=1")
    if kind is unreadable:
        if not (shutil.which("setpriv") and os.geteuid() == 0):
            pytest.skip("nobody who could be refused")
        site.prefix = WITHOUT_POWER
    shutil.copytree(interrupted.path, site.path, symlinks=True, dirs_exist_ok=True)
    newest_first = files(site, UNFINISHED["state"])[::-1]
    found = [("state", path, kind) for path in newest_first[:states]]
    found += [("lease", path, kind) for path in files(site, UNFINISHED["lease"])]
    for _, path, _ in found:
        kind(path)
    (events,) = newest_first[0].parents[1].glob("events*")
    kind(events)
    metrics = newest_first[0].parents[1] / "metrics.jsonl"
    metrics.write_bytes(metrics.read_bytes()[:-5])  # torn
    said = completes(site, commands.LEARNED, found)
    if kind not in (delete, unreadable):
        assert all(path.name in said for what, path, _ in found if what == "state"), said
    straight_learned.must_equal(site)


@pytest.mark.parametrize("what", CACHED)
def test_the_cache(site, straight_learned, commands, long, what):
    shutil.copytree(straight_learned.path, site.path, symlinks=True, dirs_exist_ok=True)
    for kind in (truncate, flip, zero, delete, directory) if long else (flip, delete):
        path = files(site, CACHED[what])[0]
        kind(path)
        (evaluations,) = files(site, FILES["evaluations"])
        evaluations.unlink()  # so that the data is read
        done = site.frepo(*commands.LEARNED)
        assert done.code == 0, (kind, done.err)
        assert f"{path.parent.name} is damaged" in done.err, (kind, done.err)
        straight_learned.must_equal(site)


GARBAGE = np.random.default_rng(0).bytes(50_000)
LEAVE_A_LOG = """
import duckdb, os, sys
connection = duckdb.connect(sys.argv[1])
connection.execute("SET wal_autocheckpoint = '1GB'")
connection.execute("UPDATE stages SET step = step + 1")
connection.execute("DELETE FROM metrics")
os._exit(0)
"""


def garbage(path):
    path.write_bytes(GARBAGE)


def empty(path):
    path.write_bytes(b"")


def flip_a_byte_of_the_log(path):
    subprocess.run([sys.executable, "-c", LEAVE_A_LOG, path], check=True)
    flip(log_of(path))


def log_of_another_database(path):
    other = path.with_name("other.duckdb")
    shutil.copy(path, other)
    subprocess.run([sys.executable, "-c", LEAVE_A_LOG, other], check=True)
    log_of(other).rename(log_of(path))
    other.unlink()
    with_more = (
        "import duckdb, sys; duckdb.connect(sys.argv[1]).execute('CREATE TABLE more AS SELECT 1; DROP TABLE more')"
    )
    subprocess.run([sys.executable, "-c", with_more, other], check=True)


def garbage_for_a_log(path):
    log_of(path).write_bytes(GARBAGE)


def log_of(path):
    return path.with_name(f"{path.name}.wal")


ALWAYS_NOTICED = (truncate, zero, garbage, empty, directory, flip_a_byte_of_the_log)


def test_the_database(site, straight_learned, commands):
    shutil.copytree(straight_learned.path, site.path, symlinks=True, dirs_exist_ok=True)
    database = site.path / "results.duckdb"
    for kind in (*ALWAYS_NOTICED, delete, flip, garbage_for_a_log):
        kind(database)
        done = site.frepo(*commands.LEARNED)
        assert done.code == 0, (kind, done.err)
        straight_learned.must_equal(site)
        if kind in ALWAYS_NOTICED:
            aside = re.search(r"results\.duckdb is damaged .* set aside as (results\.duckdb\.damaged\d*) ", done.err)
            assert aside, (kind, done.err)
            assert (site.path / aside[1]).exists()


def test_notes_with_the_name_of_a_database_are_left_alone(site, straight_learned, commands):
    shutil.copytree(straight_learned.path, site.path, symlinks=True, dirs_exist_ok=True)
    (site.path / "results.duckdb").write_text("what I wanted to do tomorrow\n")
    done = site.frepo(*commands.LEARNED)
    assert done.code == 1
    assert "results.duckdb cannot be opened" in done.err
    assert (site.path / "results.duckdb").read_text() == "what I wanted to do tomorrow\n"

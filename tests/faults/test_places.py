"""Disks that are full, read-only, moved or without locks, clocks that are set back, others at the same time."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

ERRORS = ("ENOSPC", "EDQUOT", "EIO", "EROFS")


def first_reached(trace):
    """Return the innermost writer of each write, in the order in which they are reached first."""
    return list(
        dict.fromkeys(write["places"][0] for write in trace if write["places"] and write["event"] != "database")
    )


@pytest.mark.parametrize("error", ERRORS)
def test_each_writer_of_a_run_is_refused_in_turn(site, straight, straight_learned, acknowledged, commands, long, error):
    if not long and error != "ENOSPC":
        pytest.skip("the long form, of every kind of stage and error: FREPO_TEST_LONG=1")
    command, straight = (commands.RUN, straight) if long else (commands.LEARNED, straight_learned)
    (trace,) = straight.traces.values()
    places = first_reached(trace)
    assert len(places) > 10
    if not long:
        places = places[:: len(places) // 3]
    for place in places:
        done = site.frepo(*command, fault={"place": place, "at": 1, "error": error})
        assert done.code in (0, 1), (place, done.err)
        if done.code:
            assert os.strerror(getattr(__import__("errno"), error)) in done.err, (place, done.err)
        site.acknowledge(acknowledged)
    site.until_done(command)
    straight.must_equal(site)
    site.must_have(acknowledged)


LIGHT = (
    "ingest",
    "report",
    "figures",
    "export npz",
    "prepare archive",
    "prepare arrays",
    "download",
    "decode",
    "import",
)


IN_SHORT = ("ingest", "report", "prepare archive")


@pytest.mark.parametrize("name", LIGHT)
def test_each_writer_of_a_light_command_is_refused_in_turn(tmp_path, light, commands, long, name):
    if name not in IN_SHORT and not long:
        pytest.skip("the long form: FREPO_TEST_LONG=1")
    straight = light(name)
    places = first_reached(straight.traces[name])
    site = light(name, tmp_path / "site")
    for place in places if long else places[-1:]:
        done = site.frepo(*commands.LIGHT[name], fault={"place": place, "at": 1, "error": "ENOSPC"})
        assert done.code in (0, 1), (place, done.err)
        if done.code:
            assert "No space left" in done.err or "already" in done.err or "is there" in done.err, (place, done.err)
    done = site.frepo(*commands.LIGHT[name])
    assert done.code == 0 or "already" in done.err or "is there" in done.err, done.err
    assert site.made() == straight.made()


@contextlib.contextmanager
def mounted(path, options, kind="tmpfs"):
    done = subprocess.run(["mount", "-t", kind, "-o", options, kind, path], capture_output=True)
    if done.returncode:
        pytest.skip("a file system cannot be mounted here")
    try:
        yield lambda more: subprocess.run(["mount", "-o", f"remount,{more}", path], check=True)
    finally:
        subprocess.run(["umount", "-l", path], check=True)


@pytest.mark.parametrize(
    ("place", "small", "sizes"),
    [
        ("runs", "size={}k", (40, 100, 200, 100_000)),
        ("runs", "nr_inodes={}", (8, 20, 40, 100_000)),
        (".", "size={}k", (2_000, 4_000, 100_000)),
    ],
    ids=["full", "no inodes", "full for the database"],
)
def test_a_disk_that_fills_up_and_is_enlarged(
    site, straight_learned, acknowledged, commands, long, place, small, sizes
):
    sizes = sizes if long else (sizes[0], sizes[-1])
    disk = site.path / place
    disk.mkdir(exist_ok=True)
    with mounted(disk, small.format(sizes[0])) as remount:
        copy_of = straight_learned.path / "learned.toml"
        shutil.copy(copy_of, site.path)
        codes = []
        for size in sizes:
            remount(small.format(size))
            done = site.frepo(*commands.LEARNED)
            codes.append(done.code)
            assert done.code == 0 or "No space left" in done.err, done.err
            site.acknowledge(acknowledged)
        assert codes[0] == 1
        assert codes[-1] == 0
        straight_learned.must_equal(site)
        site.must_have(acknowledged)


def killed_in_the_middle(site, commands):
    fault = {"place": "engine/checkpoint.py:save_state", "at": 14, "signal": signal.SIGKILL}
    assert site.frepo(*commands.LEARNED, fault=fault).code == -signal.SIGKILL


def test_a_clock_that_is_set_back(site, straight_learned, commands):
    killed_in_the_middle(site, commands)
    (lease,) = site.path.glob("runs/.stages/*/.lease-*")
    lease.write_text(json.dumps({**json.loads(lease.read_text()), "host": "elsewhere"}))
    tomorrow = time.time() + 86_400
    for path in site.path.rglob("*"):
        os.utime(path, (tomorrow, tomorrow), follow_symlinks=False)
    done = site.frepo(*commands.LEARNED, fault={"clock": -86_400})
    assert done.code == 0, done.err
    straight_learned.must_equal(site)


def test_a_run_directory_that_is_moved(site, straight_learned, commands):
    killed_in_the_middle(site, commands)
    moved = site.path.with_name("moved")
    site.path.rename(moved)
    site.path = moved
    (moved / "runs").rename(moved / "other")
    done = site.frepo(*commands.LEARNED, "--runs-dir", "other")
    assert done.code == 0, done.err
    (moved / "other").rename(moved / "runs")
    straight_learned.must_equal(site)
    done = site.frepo(*commands.LEARNED)
    assert "nothing to compute" in done.err
    straight_learned.must_equal(site)


def test_a_run_directory_that_becomes_read_only(site, straight_learned, commands):
    killed_in_the_middle(site, commands)
    runs = site.path / "runs"
    if subprocess.run(["mount", "--bind", "-o", "ro", runs, runs], capture_output=True).returncode:
        pytest.skip("nothing can be mounted here")
    try:
        done = site.frepo(*commands.LEARNED)
        assert done.code == 1
        assert "Read-only file system" in done.err
        for command in (("status",), ("runs",), ("plan", "learned.toml"), ("report", "--out", "pages")):
            assert site.frepo(*command).code == 0, command
    finally:
        subprocess.run(["umount", runs], check=True)
    site.until_done(commands.LEARNED)
    straight_learned.must_equal(site)


@pytest.mark.parametrize("name", ["download", "ingest"])
def test_a_file_system_without_locks(tmp_path, light, commands, name):
    site = light(name, tmp_path / "site")
    done = site.frepo(*commands.LIGHT[name], fault={"no_locks": True})
    assert done.code == 0, done.err
    assert site.made() == light(name).made()


def test_two_processes_on_the_same_stages_of_which_one_is_killed(site, straight_learned, commands):
    first, _ = site.start(*commands.LEARNED)
    second, _ = site.start(*commands.LEARNED)
    deadline = time.monotonic() + 300
    while not list(site.path.glob("runs/.stages/*/state/*.state")):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    _, err = second.communicate(timeout=600)
    assert second.returncode == 0, err
    straight_learned.must_equal(site)


HOLD = "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('held', flush=True); sys.stdin.read()"


def test_a_database_that_is_locked_for_minutes(site, straight_learned, commands, long):
    command = [sys.executable, "-c", HOLD, site.path / "results.duckdb"]
    holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "held\n"
    process, _ = site.start(*commands.LEARNED)
    deadline = time.monotonic() + 300
    while len(list(site.path.glob("runs/.stages/*/evaluations.jsonl"))) < 1:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    if long:
        _, err = process.communicate(timeout=600)
        assert process.returncode == 1
        assert "stayed locked by another process" in err
    holder.communicate("")
    if not long:
        _, err = process.communicate(timeout=600)
        assert process.returncode == 0, err
    site.until_done(commands.LEARNED)
    straight_learned.must_equal(site)

"""Leases: one process at a time, on whichever host; a dead one gives way, and one that was taken over notices."""

import errno
import json
import os
import platform
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace

import pytest

from frepo.rundir import lease as leases
from frepo.rundir.lease import (
    DEFAULT_SECONDS,
    LOG_VARIABLE,
    PREFIX,
    SECONDS_VARIABLE,
    BusyError,
    Holder,
    LostError,
    held,
    holder_of,
    lease_seconds,
)

ELSEWHERE = Holder(host="elsewhere", kernel="another", pid=1, started="1", seconds=30.0, token="a")


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(leases, "LOOK_AGAIN_SECONDS", 0.001)
    monkeypatch.delenv(SECONDS_VARIABLE, raising=False)


def files(directory):
    return sorted(path.name for path in directory.iterdir())


def write(directory, number, content, silent=0.0):
    """Write a lease that was touched `silent` seconds ago."""
    path = directory / f"{PREFIX}{number}"
    path.write_text(json.dumps(asdict(content)) if isinstance(content, Holder) else content)
    os.utime(path, (time.time() - silent,) * 2)
    return path


def is_free(directory):
    try:
        with held(directory, 0.0):
            return True
    except BusyError:
        return False


@contextmanager
def held_elsewhere(directory, monkeypatch):
    """Hold the lease as a process of another host does, as far as others see."""
    with ExitStack() as stack:
        with monkeypatch.context() as patch:
            patch.setattr(leases.platform, "node", lambda: "elsewhere")
            lease = stack.enter_context(held(directory, 0.0))
        yield lease


def test_one_holds_it_and_gives_it_back(tmp_path, monkeypatch):
    monkeypatch.setenv(LOG_VARIABLE, "/tmp/0.log")
    with held(tmp_path, 0.0) as lease:
        lease.must_be_held()
        assert files(tmp_path) == [".lease-1"]
        holder = holder_of(tmp_path)
        assert (holder.pid, holder.log, holder.seconds) == (os.getpid(), "/tmp/0.log", DEFAULT_SECONDS)
        assert holder.is_here
        with pytest.raises(BusyError, match=f"is held by process {os.getpid()} on "), held(tmp_path, 0.0):
            pass
    assert files(tmp_path) == []
    assert holder_of(tmp_path) is None
    assert is_free(tmp_path)


def test_patience_lasts_until_it_is_given_back(tmp_path):
    stack = ExitStack()
    stack.enter_context(held(tmp_path, 0.0))
    timer = threading.Timer(0.1, stack.close)
    timer.start()
    with held(tmp_path, 60.0) as lease:
        lease.must_be_held()
    timer.join()


def test_a_process_that_is_dead_or_a_zombie_gives_way_at_once(tmp_path, hold, lives):
    process = hold(tmp_path)
    assert not is_free(tmp_path)
    process.send_signal(signal.SIGKILL)
    while lives(process.pid):
        time.sleep(0.01)
    assert holder_of(tmp_path) is None
    zombie = (tmp_path / ".lease-1").read_bytes()
    assert is_free(tmp_path)
    process.wait()
    (tmp_path / ".lease-1").write_bytes(zombie)
    assert is_free(tmp_path)


def test_a_process_id_that_was_given_again_is_another_process(tmp_path):
    with held(tmp_path, 0.0):
        mine = holder_of(tmp_path)
    write(tmp_path, 1, mine)
    assert not is_free(tmp_path)
    write(tmp_path, 1, replace(mine, started="1"))
    assert is_free(tmp_path)


def test_a_process_of_another_user_that_is_hidden_counts_by_its_touches(tmp_path, monkeypatch):
    here = {"host": platform.node(), "kernel": leases._kernel()}
    holder = replace(ELSEWHERE, **here, pid=os.getpid())
    monkeypatch.setattr(leases, "_started", lambda _: leases.UNKNOWN)
    write(tmp_path, 1, holder, silent=29.0)
    assert not is_free(tmp_path)
    write(tmp_path, 1, holder, silent=31.0)
    assert is_free(tmp_path)


def test_a_full_disk_leaves_no_lease_that_keeps_others_out(tmp_path, monkeypatch):
    def full(handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"), held(tmp_path, 0.0):
            pass
    assert files(tmp_path) == []
    assert is_free(tmp_path)


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_clock_that_jumps_is_no_matter_on_one_host(tmp_path, hold, hours):
    process = hold(tmp_path)
    os.utime(tmp_path / ".lease-1", (time.time() + 3600 * hours,) * 2)
    assert not is_free(tmp_path)
    process.kill()
    process.wait()
    assert is_free(tmp_path)


def test_a_holder_on_another_host_has_the_time_that_it_states(tmp_path, monkeypatch):
    monkeypatch.setenv(SECONDS_VARIABLE, "1")  # this process states less, which is no matter
    write(tmp_path, 1, ELSEWHERE, silent=20)
    assert holder_of(tmp_path) == ELSEWHERE
    assert not is_free(tmp_path)
    write(tmp_path, 1, ELSEWHERE, silent=31)
    assert holder_of(tmp_path) is None
    with held(tmp_path, 0.0) as lease:
        lease.must_be_held()
        assert files(tmp_path) == [".lease-2"]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"host": "elsewhere"}'])
def test_a_damaged_lease_lasts_as_long_as_any(tmp_path, content):
    write(tmp_path, 1, content, silent=DEFAULT_SECONDS - 20)
    with pytest.raises(BusyError, match=r"is held$"), held(tmp_path, 0.0):
        pass
    write(tmp_path, 1, content, silent=DEFAULT_SECONDS + 1)
    assert is_free(tmp_path)
    assert files(tmp_path) == []


def test_what_several_dead_ones_left_does_not_keep_the_next_one_out(tmp_path):
    write(tmp_path, 3, ELSEWHERE, silent=99)  # whoever took its place was killed before it could remove it
    write(tmp_path, 4, replace(ELSEWHERE, token="b"), silent=98)
    write(tmp_path, 5, "", silent=999)
    with held(tmp_path, 0.0) as lease:
        lease.must_be_held()
        assert files(tmp_path) == [".lease-6"]


def test_one_that_lives_keeps_it_whatever_the_others_left(tmp_path):
    write(tmp_path, 3, ELSEWHERE)
    write(tmp_path, 4, replace(ELSEWHERE, token="b"), silent=99)
    assert holder_of(tmp_path) == ELSEWHERE
    assert not is_free(tmp_path)


def test_other_files_are_no_leases(tmp_path):
    (tmp_path / ".lease-old").touch()
    assert holder_of(tmp_path) is None
    assert is_free(tmp_path)
    assert files(tmp_path) == [".lease-old"]


def test_a_holder_that_was_taken_over_notices_and_leaves_the_new_one_alone(tmp_path, monkeypatch):
    with held_elsewhere(tmp_path, monkeypatch) as first:
        assert not is_free(tmp_path)
        os.utime(tmp_path / ".lease-1", (1, 1))
        with held(tmp_path, 0.0) as second:
            second.must_be_held()
            with pytest.raises(LostError, match="was taken over by another process"):
                first.must_be_held()
            first.release()
            second.must_be_held()
            assert files(tmp_path) == [".lease-2"]


def test_a_holder_that_was_taken_over_does_not_touch_a_lease_of_the_same_number(tmp_path, monkeypatch):
    monkeypatch.setenv(SECONDS_VARIABLE, "1")
    with held_elsewhere(tmp_path, monkeypatch) as first:
        path = write(tmp_path, 1, ELSEWHERE, silent=20)
        before = path.stat().st_mtime
        time.sleep(0.5)  # it touches its own six times a second
        assert path.stat().st_mtime == before
        with pytest.raises(LostError):
            first.must_be_held()
    assert holder_of(tmp_path) == ELSEWHERE


def test_a_holder_touches_its_lease(tmp_path, monkeypatch):
    monkeypatch.setenv(SECONDS_VARIABLE, "1")
    with held(tmp_path, 0.0):
        path = tmp_path / ".lease-1"
        os.utime(path, (1, 1))
        deadline = time.monotonic() + 30
        while path.stat().st_mtime == 1:
            assert time.monotonic() < deadline
            time.sleep(0.01)


@pytest.mark.parametrize(
    ("given", "seconds"),
    [(None, 120), ("2", 2), ("1.5", 1.5), ("0", 120), ("-3", 120), ("inf", 120), ("nan", 120), ("soon", 120)],
)
def test_the_time_after_which_a_silent_holder_is_dead_can_be_given(tmp_path, monkeypatch, given, seconds):
    if given is not None:
        monkeypatch.setenv(SECONDS_VARIABLE, given)
    assert lease_seconds() == seconds
    with held(tmp_path, 0.0):
        assert holder_of(tmp_path).seconds == seconds


def test_exactly_one_of_many_threads_gets_the_lease_of_a_dead_holder(tmp_path):
    count, rounds = 6, 200
    start, decided = threading.Barrier(count, timeout=60), threading.Barrier(count, timeout=60)
    winners = [0] * rounds
    lefts = (  # of a number and how long they have been silent
        [(1, ELSEWHERE, 99)],
        [],
        [(1, "", 999), (2, ELSEWHERE, 99)],
    )
    for number in range(rounds):
        (tmp_path / str(number)).mkdir()
        for left in lefts[number % len(lefts)]:
            write(tmp_path / str(number), *left)

    def contend():
        for number in range(rounds):
            start.wait()
            try:
                with held(tmp_path / str(number), 0.0) as lease:
                    winners[number] += 1
                    decided.wait()
                    lease.must_be_held()
            except BusyError:
                decided.wait()

    threads = [threading.Thread(target=contend) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert winners == [1] * rounds


COUNT = """
import os, random, signal, sys
from pathlib import Path
from frepo.rundir import lease
lease.LOOK_AGAIN_SECONDS = 0.01
directory, rounds, end = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
for round in range(rounds):
    with lease.held(directory, 120.0) as held:
        count = int((directory / "count").read_text())
        os.sched_yield()
        held.must_be_held()
        (directory / "count").write_text(str(count + 1))
        if round == rounds - 1 and end == "die":
            os.kill(os.getpid(), signal.SIGKILL)
"""


def test_processes_that_die_holding_it_lose_nothing(tmp_path):
    (tmp_path / "count").write_text("0")
    ends = ["die", "live"] * 4
    processes = [subprocess.Popen([sys.executable, "-c", COUNT, tmp_path, "10", end]) for end in ends]
    codes = [process.wait(timeout=120) for process in processes]
    assert codes == [-signal.SIGKILL, 0] * 4
    assert (tmp_path / "count").read_text() == "80"


HOST = """
import sys, time
from pathlib import Path
from frepo.cli import main
from frepo.execute import stages
execute, log, host = stages.execute, Path("computed"), sys.argv.pop(1)
def slowly(stage, options, journal):
    with log.open("a") as file:
        file.write(f"{host} begins {stage.place}\\n")
    time.sleep(0.4)
    execute(stage, options, journal)
    with log.open("a") as file:
        file.write(f"{host} ends {stage.place}\\n")
stages.execute = slowly
main()
"""
SPACES = ("unshare", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc")


def test_two_hosts_compute_each_stage_once_and_none_is_lost_when_one_dies(workplace, monkeypatch):
    if subprocess.run([*SPACES, "true"], capture_output=True).returncode:
        pytest.skip("two hosts need `unshare --uts --pid --mount-proc`, which is not permitted here")
    monkeypatch.setenv(SECONDS_VARIABLE, "4")
    spec = workplace.path / "many.toml"
    spec.write_text(
        'name = "many"\n[dataset]\nname = "digits"\n[distill]\nmethod = "random"\nipc = 1\n'
        f"[sweep]\nseed = {list(range(12))}\n"
    )
    (workplace.path / "host.py").write_text(HOST)

    def start(host):
        command = f"hostname {host} && exec {sys.executable} host.py {host} run many.toml --db {host}.duckdb"
        return subprocess.Popen(
            [*SPACES, "sh", "-c", command],
            cwd=workplace.path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def lines():
        path = workplace.path / "computed"
        return [line.split() for line in path.read_text().splitlines()] if path.exists() else []

    one, two = start("one"), start("two")
    try:
        deadline = time.monotonic() + 120
        while len([line for line in lines() if line[:2] == ["one", "ends"]]) < 2 or lines()[-1][:2] != [
            "one",
            "begins",
        ]:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        one.kill()
        one.communicate()
        _, said = two.communicate(timeout=120)
    finally:
        one.kill()
        two.kill()
    assert two.returncode == 0, said
    ends = [place for _, event, place in lines() if event == "ends"]
    assert len(ends) == len(set(ends)) == 12
    assert {host for host, *_ in lines()} == {"one", "two"}
    begun = [place for _, event, place in lines() if event == "begins"]
    assert len(begun) <= 13  # that of the host that died is begun again
    records = [json.loads(path.read_text()) for path in (workplace.path / "runs" / ".stages").glob("*/stage.json")]
    assert [record["status"] for record in records] == ["done"] * 12
    hosts = {record["attempts"][-1]["provenance"]["host"] for record in records}
    assert hosts == {"one", "two"}
    assert not list((workplace.path / "runs" / ".stages").glob("*/.lease-*"))


def test_a_touch_in_the_future_counts_from_when_it_is_seen(tmp_path, monkeypatch):
    write(tmp_path, 1, ELSEWHERE, silent=-86_400)  # the clock was set back by a day
    assert not is_free(tmp_path)
    now, passed = time.monotonic, 20.0
    monkeypatch.setattr(leases.time, "monotonic", lambda: now() + passed)
    assert not is_free(tmp_path)
    passed = 40.0
    assert is_free(tmp_path)


def test_a_directory_with_the_name_of_a_lease_is_set_aside(tmp_path):
    (tmp_path / ".lease-1").mkdir()
    assert not is_free(tmp_path)
    os.utime(tmp_path / ".lease-1", (0, 0))
    assert is_free(tmp_path)
    assert files(tmp_path) == [".lease-1.damaged"]

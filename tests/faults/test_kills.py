"""SIGKILL at any moment: the same command goes on to the same bits, and nothing that was acknowledged is lost."""

import os
import signal

import numpy as np
import pytest

KILLS = 10
"""In a row, until the command ends well."""
PIECES = range(40)
"""Of the long form: each is so many kills, half of the pieces at writes and half at moments."""


in_the_long_form = pytest.mark.skipif(not os.environ.get("FREPO_TEST_LONG"), reason="the long form: FREPO_TEST_LONG=1")
"""Before what is undisturbed is computed."""


def killed(site, command, straight, acknowledged, piece, kills=KILLS):
    """Kill a command so many times, and let it end well."""
    random = np.random.default_rng(piece)
    (name,) = straight.traces
    writes = sum(bool(write["places"]) for write in straight.traces[name])
    left = kills
    while left:
        if piece % 2:
            done = site.frepo(*command, after=random.uniform(0, 2 * straight.seconds[name] / (kills + 1)))
        else:
            at = int(random.integers(1, max(2, 2 * writes // (kills + 1))))
            done = site.frepo(*command, fault={"at": at, "signal": signal.SIGKILL})
        assert done.code in (-signal.SIGKILL, 0), done.err
        site.acknowledge(acknowledged)
        if done.code:
            left -= 1
            continue
        straight.must_equal(site)  # ended before: all over again
        site.must_have(acknowledged)
        site.start_again()
        acknowledged.clear()
    site.until_done(command)
    straight.must_equal(site)
    site.must_have(acknowledged)


@in_the_long_form
@pytest.mark.parametrize("piece", PIECES)
def test_a_run_of_every_kind_of_stage(site, straight, acknowledged, commands, piece):
    killed(site, commands.RUN, straight, acknowledged, piece)


@in_the_long_form
@pytest.mark.parametrize("piece", range(1, 7))
def test_a_run_of_every_method(site, straight_methods, acknowledged, commands, piece):
    killed(site, commands.METHODS, straight_methods, acknowledged, piece)


@in_the_long_form
@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="two processes need two cores")
@pytest.mark.parametrize("victim", ["command", "workers"])
@pytest.mark.parametrize("piece", range(1, 7))
def test_a_sweep_side_by_side(site, straight_sweep, acknowledged, commands, lives, piece, victim):
    random = np.random.default_rng(piece)
    for _ in range(3):
        if victim == "workers":
            fault = {"at": int(random.integers(5, 80)), "signal": signal.SIGKILL, "workers": True}
            done = site.frepo(*commands.SWEEP, fault=fault)
            assert done.code in (1, 0), done.err
        else:
            done = site.frepo(*commands.SWEEP, after=random.uniform(0, straight_sweep.seconds["sweep"]))
            assert done.code in (-signal.SIGKILL, 0), done.err
        site.acknowledge(acknowledged)
    site.until_done(commands.SWEEP)
    straight_sweep.must_equal(site)
    site.must_have(acknowledged)


@pytest.mark.parametrize("name", ["ingest", "report", "export hf", "prepare archive", "download", "decode"])
def test_a_light_command_at_its_writes(tmp_path, light, commands, long, name):
    straight = light(name)
    writes = [number for number, write in enumerate(w for w in straight.traces[name] if w["places"])]
    random = np.random.default_rng(len(name))
    chosen = writes if long else sorted(random.choice(writes, min(2, len(writes)), replace=False))
    site = light(name, tmp_path / "site")
    for number in chosen:
        done = site.frepo(*commands.LIGHT[name], fault={"at": int(number) + 1, "signal": signal.SIGKILL})
        assert done.code in (-signal.SIGKILL, 0, 1), done.err  # 1: it is there already
    finish(site, straight, name, commands)


@pytest.mark.parametrize("name", ["ingest", "report", "prepare arrays", "download"])
def test_a_light_command_at_moments(tmp_path, light, commands, long, name):
    straight, random = light(name), np.random.default_rng(len(name))
    site = light(name, tmp_path / "site")
    for _ in range(25 if long else 2):
        if name == "ingest":  # the database does not pass Python
            fault = {"at": int(random.integers(1, 3)), "signal": 9, "delay": float(random.uniform(0.001, 0.3))}
            done = site.frepo(*commands.LIGHT[name], fault=fault)
            assert done.code in (-signal.SIGALRM, 0)
        else:
            done = site.frepo(*commands.LIGHT[name], after=random.uniform(0.2, max(0.4, straight.seconds[name])))
            assert done.code in (-signal.SIGKILL, 0, 1)
    finish(site, straight, name, commands)


def finish(site, straight, name, commands):
    """Let a light command end well, unless it says that it has done so."""
    done = site.frepo(*commands.LIGHT[name])
    assert done.code == 0 or "already" in done.err or "is there" in done.err, done.err
    (made, rows), (wanted, of_wanted) = site.made(), straight.made()
    assert {name for name in made.keys() | wanted.keys() if made.get(name) != wanted.get(name)} == set()
    assert rows == of_wanted

"""A signal at any moment, scoring included: the state is saved, and the same command goes on to the same bits."""

import signal

import numpy as np
import pytest

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)
BEFORE = {signal.SIGINT: (1, 130)}
"""Exit codes before there is a state to save, besides that of the signal itself."""


@pytest.mark.parametrize("piece", range(12))
def test_a_run(site, straight, straight_learned, acknowledged, commands, long, piece):
    if piece and not long:
        pytest.skip("the long form, of every kind of stage: FREPO_TEST_LONG=1")
    command = commands.RUN if piece else commands.LEARNED
    straight = straight if piece else straight_learned
    random = np.random.default_rng(piece)
    (trace,) = straight.traces.values()
    writes = len(trace)
    for number in random.permutation(SIGNALS):
        number = signal.Signals(number)
        fault = {"at": int(random.integers(1, 2 * writes // 6)), "delay": float(random.uniform(0, 0.5))}
        done = site.frepo(*command, fault={**fault, "signal": number})
        assert done.code in (75, 0, -number, *BEFORE.get(number, ())), (number, done.err)
        if done.code == 75:
            assert f"stopped by {number.name}; run the same command again to go on" in done.err
        site.acknowledge(acknowledged)
    site.until_done(command)
    straight.must_equal(site)
    site.must_have(acknowledged)


@pytest.mark.parametrize("name", ["ingest", "report", "prepare archive", "download"])
def test_a_light_command(tmp_path, light, commands, long, name):
    straight, random = light(name), np.random.default_rng(len(name))
    site = light(name, tmp_path / "site")
    for number in SIGNALS if long else SIGNALS[:2]:
        done = site.frepo(
            *commands.LIGHT[name], after=random.uniform(0.2, max(0.4, straight.seconds[name])), send=number
        )
        assert done.code in (75, 0, 1, 130, -number), done.err
    done = site.frepo(*commands.LIGHT[name])
    assert done.code == 0 or "already" in done.err, done.err
    assert site.made() == straight.made()

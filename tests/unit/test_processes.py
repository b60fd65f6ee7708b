"""Several processes that compute together: one that is gone, silent or has failed ends the others."""

import os
import signal
import socket
import subprocess
import sys
import time

import pytest

SILENT = 6
"""Seconds after which a process that does not answer counts as dead."""

TOGETHER = """
import sys
import typer
from frepo.cli import app, main
from frepo.engine.processes import any_process, join, letting_none_wait
from frepo.errors import DivergedError, Interrupted
from frepo.runtime import Processes

index, port, ends = int(sys.argv[1]), sys.argv[2], sys.argv[3]

@app.command()
def together():
    join(Processes(f"127.0.0.1:{port}", index, 2))
    with letting_none_wait():
        any_process(False)
        print("together", flush=True)
        while True:
            stop, = any_process(ends == "interrupted" and index == 1)
            if stop:
                raise Interrupted("stopped by a signal")
            if ends == "diverged" or (ends, index) in (("failed", 1), ("first failed", 0)):
                raise DivergedError("the loss is nan")
            if ends == "broken" and index == 1:
                raise TypeError("an error in the program")

sys.argv[1:] = ["together"]
main()
"""


@pytest.fixture
def start():
    """Return what starts two processes that ask each other for ever, or end as it says, once they have met."""
    started = []

    def start(ends="never"):
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            port = one.getsockname()[1]
        environment = {**os.environ, "FREPO_LEASE_SECONDS": str(SILENT), "JAX_PLATFORMS": "cpu"}
        for index in range(2):
            command = [sys.executable, "-c", TOGETHER, str(index), str(port), ends]
            started.append(
                subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
            )
        for process in started:
            while process.stdout.readline() != "together\n":
                assert process.poll() is None, process.communicate()
        return started

    yield start
    for process in started:
        process.kill()
        process.communicate()


def ended(process):
    """Return (exit code, what it said) of a process, which has to end in time."""
    _, err = process.communicate(timeout=10 * SILENT)
    return process.returncode, err


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
@pytest.mark.parametrize("victim", [0, 1])
def test_one_that_dies_or_does_not_answer_ends_the_other(start, victim, number):
    processes = start()
    processes[victim].send_signal(number)
    began = time.monotonic()
    code, err = ended(processes[1 - victim])
    assert code == 75, err
    assert "another of the processes that compute this together cannot be reached" in err
    assert "run the same command again to go on" in err
    assert time.monotonic() - began < 5 * SILENT
    if number == signal.SIGSTOP:  # and neither does it stay for ever once it goes on
        processes[victim].send_signal(signal.SIGCONT)
        code, err = ended(processes[victim])
        assert code == 75, err


@pytest.mark.parametrize(
    ("ends", "codes"),
    [
        ("failed", [75, 1]),
        ("first failed", [1, 75]),
        ("broken", [75, 1]),
        ("diverged", [1, 1]),
        ("interrupted", [75, 75]),
    ],
)
def test_one_that_fails_lets_none_wait(start, ends, codes):
    found = [ended(process) for process in start(ends)]
    assert [code for code, _ in found] == codes, found
    for code, (_, err) in zip(codes, found, strict=True):
        if code == 1:
            assert ("TypeError: an error" if ends == "broken" else "frepo: the loss is nan") in err
        else:
            assert ("stopped by a signal" if ends == "interrupted" else "cannot be reached") in err
            assert "Traceback" not in err

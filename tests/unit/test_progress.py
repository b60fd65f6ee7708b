"""What a run says while it works."""

import io
import re
from contextlib import redirect_stderr

import pytest

from frepo import progress
from frepo.engine.cost import peak_flops


@pytest.fixture
def clock(monkeypatch):
    times = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: times[0])
    return times


def test_a_line_says_rate_share_of_peak_and_time_left(clock, capsys):
    with progress.step_progress("stage", 100, 1100, steps_at_peak=40.0) as report:
        clock[0] = 5.0
        report.update(150, {})  # too early for a line
        clock[0] = 20.0
        report.update(500, {})
    assert capsys.readouterr().err == "stage: step 500/1,100, 20 steps/s (50% of peak), 0:00:30 left\n"


def test_where_the_peak_is_not_known_nothing_is_said_of_it(clock, capsys):
    with progress.step_progress("stage", 0, 10) as report:
        clock[0] = 2.0
        report.update(10, {})
    assert capsys.readouterr().err == "stage: step 10/10, 5 steps/s, 0:00:00 left\n"


def test_bytes_are_told_every_few_seconds_and_at_the_end(clock, capsys):
    with progress.byte_progress("file.gz", 1_000_000, 11_000_000) as report:
        clock[0] = 5.0
        report.update(2_000_000)  # too early for a line
        clock[0] = 10.0
        report.update(3_000_000)
        clock[0] = 11.0
        report.update(11_000_000)
    assert capsys.readouterr().err == (
        "file.gz: 3.0 of 11.0 MB, 0.2 MB/s, 0:00:40 left\nfile.gz: 11.0 of 11.0 MB, 0.9 MB/s, 0:00:00 left\n"
    )


class Terminal(io.StringIO):
    """Standard error of somebody who looks on."""

    def isatty(self):
        return True

    def frames(self):
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.getvalue())


@pytest.fixture
def terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")
    return Terminal()


METRICS = {"loss": 0.123456, "krr_error": 0.1, "krr_accuracy": 0.5, "validation_accuracy": 0.625}


def test_on_a_terminal_a_bar_fits_80_columns_with_stage_steps_speed_time_loss_and_newest_accuracy(clock, terminal):
    with (
        redirect_stderr(terminal),
        progress.step_progress("evaluate-distilled-fe767959", 0, 500_000, 40.0, "[2/4]") as report,
    ):
        clock[0] = 10.0
        report.update(200, METRICS)
        progress.note("said above the bar")
    bar, below = terminal.frames().rstrip().splitlines()[-2:]
    assert bar.startswith("[2/4] evaluate-distilled-fe767959 ━")
    assert re.search(r"200/500000 \d:\d\d:\d\d|200/500000 -:--:--", bar)
    assert len(bar.rstrip()) <= 80
    assert below.strip() == "20 steps/s (50% of peak)  loss 0.123  validation accuracy 62.5%"
    assert "said above the bar" in terminal.frames()


@pytest.mark.parametrize("setting", ["dumb", "silenced", "no terminal"])
def test_elsewhere_there_is_no_bar(clock, terminal, monkeypatch, setting):
    if setting == "dumb":
        monkeypatch.setenv("TERM", "dumb")
    if setting == "no terminal":
        monkeypatch.setattr(terminal, "isatty", lambda: False)
    with redirect_stderr(terminal):
        with progress.silenced(setting == "silenced"), progress.step_progress("stage", 0, 10, None, "[1/1]") as report:
            clock[0] = 2.0
            report.update(10, METRICS)
            progress.note("noted")
            progress.warn("warned")
        progress.note("heard again")
    said = "" if setting == "silenced" else "stage: step 10/10, 5 steps/s, 0:00:00 left\nnoted\n"
    assert terminal.getvalue() == f"{said}warning: warned\nheard again\n"


def test_of_the_metrics_the_loss_and_the_newest_accuracy_are_shown():
    assert progress.shown(METRICS) == "loss 0.123  validation accuracy 62.5%"
    assert progress.shown({"train_loss": 2.0}) == "loss 2"
    assert progress.shown({}) == ""


def test_peaks_are_found_by_the_name_that_jax_gives_a_device():
    assert peak_flops("NVIDIA H100 80GB HBM3", "bfloat16") == 989e12
    assert peak_flops("NVIDIA A100-SXM4-40GB", "tf32") == 156e12
    assert peak_flops("NVIDIA H100 PCIe", "bfloat16") is None  # another chip clock than that of the SXM form
    assert peak_flops("cpu", "float32") is None


def test_on_a_terminal_bytes_have_a_bar_that_goes_to_the_end(clock, terminal):
    with redirect_stderr(terminal), progress.byte_progress("file.gz", 0, 2_000_000) as report:
        report.update(2_000_000)
    last = terminal.frames().rstrip().splitlines()[-1]
    assert last.startswith("file.gz")
    assert "2.0/2.0 MB" in last
    assert len(last) <= 80

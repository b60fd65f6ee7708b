"""What a run says while it works."""

import pytest

from frepo import progress
from frepo.peak import peak_flops


@pytest.fixture
def clock(monkeypatch):
    times = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: times[0])
    return times


def test_a_line_says_rate_share_of_peak_and_time_left(clock, capsys):
    with progress.step_progress("stage", 100, 1100, steps_at_peak=40.0) as report:
        clock[0] = 5.0
        report.update(150)  # too early for a line
        clock[0] = 20.0
        report.update(500)
    assert capsys.readouterr().err == "stage: step 500/1,100, 20 steps/s (50% of peak), 0:00:30 left\n"


def test_where_the_peak_is_not_known_nothing_is_said_of_it(clock, capsys):
    with progress.step_progress("stage", 0, 10) as report:
        clock[0] = 2.0
        report.update(10)
    assert capsys.readouterr().err == "stage: step 10/10, 5 steps/s, 0:00:00 left\n"


def test_peaks_are_found_by_the_name_that_jax_gives_a_device():
    assert peak_flops("NVIDIA H100 80GB HBM3", "bfloat16") == 989e12
    assert peak_flops("NVIDIA A100-SXM4-40GB", "tf32") == 156e12
    assert peak_flops("NVIDIA H100 PCIe", "bfloat16") is None  # another chip clock than that of the SXM form
    assert peak_flops("cpu", "float32") is None

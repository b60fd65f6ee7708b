import os
import signal
import threading

import pytest

from frepo.signals import ASK_TO_STOP, stop_on_signals, stopping


@pytest.fixture
def handlers():
    """Put back what signals did before."""
    before = {number: signal.getsignal(number) for number in ASK_TO_STOP}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield before
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", ASK_TO_STOP)
def test_a_signal_is_remembered_inside_and_forgotten_after(handlers, number):
    before = {each: signal.getsignal(each) for each in ASK_TO_STOP}
    with stop_on_signals():
        assert not stopping()
        os.kill(os.getpid(), number)
        assert stopping()
    assert not stopping()
    assert {each: signal.getsignal(each) for each in ASK_TO_STOP} == before


def test_a_second_interrupt_ends_at_once(handlers, capfd):
    def twice():
        with stop_on_signals():
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGINT)
            assert stopping()
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        twice()
    assert not stopping()
    assert "Ctrl-C again ends at once" in capfd.readouterr().err


def test_under_nohup_a_closed_terminal_stops_nothing(handlers):
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with stop_on_signals():
        os.kill(os.getpid(), signal.SIGHUP)
        assert not stopping()
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN


def test_elsewhere_than_in_the_main_thread_signals_are_left_alone(handlers):
    before = [signal.getsignal(number) for number in ASK_TO_STOP]
    seen = []

    def inside():
        with stop_on_signals():
            seen.extend(signal.getsignal(number) for number in ASK_TO_STOP)

    thread = threading.Thread(target=inside)
    thread.start()
    thread.join()
    assert seen == before

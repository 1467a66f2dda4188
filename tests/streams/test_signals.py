"""Signals that ask a process to end."""

import os
import signal

import pytest

from streams.signals import interrupt_on_sigterm, stop_on_signals


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_sets_the_event_and_the_old_handler_comes_back(number):
    before = signal.getsignal(number)
    with stop_on_signals() as stop:
        assert not stop.is_set()
        os.kill(os.getpid(), number)
        assert stop.wait(5)
    assert signal.getsignal(number) == before


def test_signal_that_comes_while_the_events_lock_is_held_does_not_hang():
    with stop_on_signals() as stop:
        with stop._cond:
            os.kill(os.getpid(), signal.SIGTERM)
        assert stop.wait(5)


def test_other_signals_are_left_alone():
    seen = []
    before = signal.signal(signal.SIGUSR1, lambda *_: seen.append(1))
    try:
        with stop_on_signals() as stop:
            os.kill(os.getpid(), signal.SIGUSR1)
            assert not stop.wait(0.05)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert seen == [1]


def test_sigterm_interrupts_and_the_old_handler_comes_back():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), interrupt_on_sigterm():
        os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) == before

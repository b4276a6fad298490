"""Signals set a flag; a block that does not look at it is interrupted later, or by a second signal."""

import signal
import threading
import time

import pytest

from pipeline.replicas.signals import SIGNALS, stop_flag, stop_flag_then_interrupt


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("flagged", [stop_flag, lambda: stop_flag_then_interrupt(after_s=60)])
def test_a_signal_sets_the_flag_and_interrupts_nothing(flagged, number):
    with flagged() as stop:
        assert not stop.is_set()
        signal.raise_signal(number)
        assert stop.is_set()


def test_a_second_signal_interrupts():
    with pytest.raises(KeyboardInterrupt), stop_flag_then_interrupt(after_s=60):
        [signal.raise_signal(signal.SIGTERM) for _ in range(2)]


def test_a_block_that_does_not_look_is_interrupted_once_it_is_late():
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt), stop_flag_then_interrupt(after_s=0.2) as stop:
        _ = signal.raise_signal(signal.SIGINT), stop.is_set() and time.sleep(60)
    assert time.monotonic() - began < 50


@pytest.mark.parametrize("asked", [False, True])
def test_a_block_that_ends_in_time_is_not_interrupted_and_leaves_neither_handler_nor_thread(asked):
    before = [signal.getsignal(number) for number in SIGNALS]
    with stop_flag_then_interrupt(after_s=0.05):
        if asked:
            signal.raise_signal(signal.SIGINT)
    time.sleep(0.1)
    assert [signal.getsignal(number) for number in SIGNALS] == before
    assert not [thread for thread in threading.enumerate() if thread.name == "interrupt"]


def test_in_another_thread_signals_reach_no_flag_and_its_handlers_stay():
    flags = []

    def block():
        with stop_flag_then_interrupt(after_s=0) as stop:
            flags.append(stop.is_set())

    before = [signal.getsignal(number) for number in SIGNALS]
    thread = threading.Thread(target=block)
    thread.start()
    thread.join(timeout=20)
    assert flags == [False]
    assert [signal.getsignal(number) for number in SIGNALS] == before

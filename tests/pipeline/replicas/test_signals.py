"""Signals set a flag; a block that does not look at it is interrupted later, or by a second signal."""

import itertools
import signal
import threading
import time

import pytest

from pipeline.errors import Stopped
from pipeline.files import patience
from pipeline.replicas.signals import SIGNALS, stop_flag, stop_flag_then_interrupt, waiting_for_storage


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch):
    monkeypatch.setattr("pipeline.files.patience.pause_s", lambda tries, chance: 0.01)


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


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_ends_the_waits_for_storage_and_does_what_it_did_before(number):
    before = signal.signal(number, lambda *_: heard.append("as before"))
    heard, failures = [], itertools.count()

    def away():
        if next(failures) == 2:
            signal.raise_signal(number)
        raise ConnectionResetError

    try:
        with (
            pytest.raises(Stopped, match="asked to stop while s3://bucket did not respond"),
            waiting_for_storage(600.0),
        ):
            patience.persist("s3://bucket/x", away)
        assert heard == ["as before"]
        signal.raise_signal(number)
        assert heard == ["as before"] * 2
    finally:
        signal.signal(number, before)


@pytest.mark.parametrize("flagged", [stop_flag, lambda: stop_flag_then_interrupt(after_s=60)])
def test_a_signal_that_sets_a_flag_ends_the_waits_too(flagged):
    def away():
        signal.raise_signal(signal.SIGTERM)
        raise ConnectionResetError

    with waiting_for_storage(600.0), flagged() as stop, pytest.raises(Stopped):
        patience.persist("s3://bucket/x", away)
    assert stop.is_set()


def test_a_signal_that_is_ignored_ends_no_wait():
    before, failures = signal.signal(signal.SIGINT, signal.SIG_IGN), itertools.count()

    def away_for_a_moment():
        signal.raise_signal(signal.SIGINT)
        if next(failures) == 0:
            raise ConnectionResetError
        return "answer"

    try:
        with waiting_for_storage(600.0):
            assert patience.persist("s3://bucket/x", away_for_a_moment) == "answer"
    finally:
        signal.signal(signal.SIGINT, before)


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

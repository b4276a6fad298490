"""Stages are opened by the code that works, and shown by whatever is put up for it."""

import threading
import time

import pytest

from pipeline.progress.stages import NAMED, Failures, Stage, counted, say, shown_by, stage
from tests.pipeline.progress.make import Recorder


@pytest.fixture
def shown():
    recorder = Recorder()
    with shown_by(recorder):
        yield recorder


def test_a_stage_is_shown_from_its_begin_to_its_end(shown):
    with stage("reading", 2, "files") as reading:
        assert shown.opened == [reading]
        reading.advance()
        reading.advance()
    assert shown.ended == [("reading", 2, True)]


def test_a_stage_that_is_left_by_an_error_did_not_come_to_its_end(shown):
    with pytest.raises(ValueError, match="torn"), stage("reading", 2, "files"):
        raise ValueError("torn")
    assert shown.ended == [("reading", 0, False)]


def test_an_item_counts_once_the_next_is_asked_for(shown):
    seen = [(item, shown.opened[0].done) for item in counted("reading", "abc", 3, "files")]
    assert seen == [("a", 0), ("b", 1), ("c", 2)]
    assert shown.ended == [("reading", 3, True)]


def test_every_thread_may_advance_a_stage():
    def slow_clock():
        time.sleep(0.001)  # meanwhile, other threads want to count too
        return time.monotonic()

    reading = Stage("reading", 40, "files", clock=slow_clock)
    threads = [threading.Thread(target=lambda: [reading.advance() for _ in range(10)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert reading.done == 40


def test_where_nothing_is_put_up_nothing_is_shown(shown, capsys):
    def work():
        say("hello")
        with stage("reading", 1, "files") as reading:
            reading.advance()

    thread = threading.Thread(target=work)  # it has a context of its own
    thread.start()
    thread.join()
    assert (shown.lines, shown.opened) == ([], [])
    assert capsys.readouterr() == ("", "")


def test_what_is_put_up_is_taken_down_again(shown):
    inner = Recorder()
    with shown_by(inner):
        say("inside")
    say("outside")
    assert (inner.lines, shown.lines) == (["inside"], ["outside"])


def test_the_first_failures_are_named_and_the_others_counted(shown):
    failures = Failures("the manifest")
    for number in range(100):
        failures.add(f"image {number} failed")
    assert failures.count == 100
    assert shown.lines == [
        *(f"image {number} failed" for number in range(NAMED)),
        "more have failed; from here on they are counted, and the manifest has all of them",
    ]

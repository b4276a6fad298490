"""Progress in a log: what begins, how far it is every so often, and what took long; never many lines."""

import threading

import pytest

from pipeline.progress.lines import LogLines
from pipeline.progress.stages import Stage
from tests.pipeline.progress.make import Clock


class Log:
    """A log whose time the tests set; they beat in place of its thread."""

    def __init__(self):
        self.clock, self.lines = Clock(), []
        self.display = LogLines(self.lines.append, lambda line: self.lines.append(f"said: {line}"), self.clock)
        self.display._thread = threading.current_thread()

    def begin(self, *arguments, **options):
        stage = Stage(*arguments, clock=self.clock, **options)
        self.display.open(stage)
        return stage

    def wait(self, seconds, beats=1):
        for _ in range(beats):
            self.clock.now_s += seconds
            self.display.beat()


@pytest.fixture
def log():
    return Log()


def test_a_stage_is_named_when_it_begins_and_when_it_has_taken_long(log):
    quick = log.begin("reading", 3, "files")
    log.display.close(quick, is_whole=True)
    long = log.begin("measuring", 3, "images")
    log.clock.now_s += 5
    long.advance(3)
    log.display.close(long, is_whole=True)
    assert log.lines == ["reading: 3 files", "measuring: 3 images", "measuring: 3 images in 0:05"]


def test_a_stage_that_ends_by_an_error_has_no_last_line(log):
    stage = log.begin("measuring", 3, "images")
    log.clock.now_s += 5
    log.display.close(stage, is_whole=False)
    assert log.lines == ["measuring: 3 images"]


def test_lines_come_every_so_often_however_often_something_changes(log):
    stage = log.begin("labelling", 1000, "images", every_s=5)
    for _ in range(100):
        log.clock.now_s += 0.125
        stage.advance()
    assert log.lines == [
        "labelling: 1,000 images",
        "labelling: 40 of 1,000 images, 8.0 images/s, 2:00 left",
        "labelling: 80 of 1,000 images, 8.0 images/s, 1:55 left",
    ]


def test_a_count_and_its_words_change_together(log):
    stage = log.begin("training", 9, "steps")
    log.clock.now_s += 10
    stage.advance(notes="loss 1")
    log.clock.now_s += 10
    stage.reach(2, "loss 2")
    assert [line[-6:] for line in log.lines[1:]] == ["loss 1", "loss 2"]
    assert [line[:15] for line in log.lines[1:]] == ["training: 1 of ", "training: 2 of "]


def test_a_stage_that_says_nothing_has_lines_too(log):
    log.begin("loading the model")
    log.wait(1, beats=25)
    assert log.lines == ["loading the model", "loading the model: 0:10 so far", "loading the model: 0:20 so far"]


def test_ten_hours_are_some_hundred_lines(log):
    log.begin("labelling", 10, "images", every_s=5)
    log.wait(1, beats=36_000)
    assert 600 < len(log.lines) < 720


def test_the_innermost_stage_is_shown(log):
    log.begin("training", 10, "steps")
    inner = log.begin("validating", 4, "photos")
    log.wait(10)
    log.display.close(inner, is_whole=False)
    log.wait(10)
    assert log.lines[2:] == ["validating: 0 of 4 photos", "training: 0 of 10 steps"]


def test_a_line_that_somebody_says_is_written_at_once(log):
    log.display.say("resuming")
    assert log.lines == ["said: resuming"]


def test_its_thread_ends_with_it():
    before = threading.active_count()
    with LogLines(lambda line: None, lambda line: None) as display:
        display.open(Stage("reading"))
        assert threading.active_count() == before + 1
    assert threading.active_count() == before

"""Lines about a stage, as people read them."""

import pytest

from pipeline.progress.stages import BYTES, Stage
from pipeline.progress.words import amount, line, minutes, summary, title
from tests.pipeline.progress.make import Clock


@pytest.fixture
def clock():
    return Clock()


def test_a_stage_of_images_says_how_many_how_fast_and_how_long(clock):
    stage = Stage("measuring maps", 37, "images", done=5, clock=clock)
    assert title(stage) == "measuring maps: 37 images"
    assert line(stage) == "measuring maps: 5 of 37 images"
    for done in (9, 13):
        clock.now_s += 2
        stage.reach(done)
    stage.note("1 failed")
    assert line(stage) == "measuring maps: 13 of 37 images, 2.0 images/s, 0:12 left; 1 failed"
    assert summary(stage) == "measuring maps: 8 images in 0:04; 1 failed"


def test_bytes_have_one_scale_per_line(clock):
    stage = Stage("reading the release", 23_400_000, BYTES, clock=clock)
    assert title(stage) == "reading the release: 23.4 MB"
    for done in (400_000, 12_300_000):
        clock.now_s += 1
        stage.reach(done)
    assert line(stage) == "reading the release: 12.3 of 23.4 MB, 11.9 MB/s, 0:01 left"


def test_a_stage_without_parts_says_how_long_it_takes(clock):
    stage = Stage("loading the model", clock=clock)
    clock.now_s += 75
    assert (title(stage), line(stage)) == ("loading the model", "loading the model: 1:15 so far")
    assert summary(stage) == "loading the model: 1:15"


@pytest.mark.parametrize(
    ("number", "unit", "shown"),
    [(0, "images", "0 images"), (1, "images", "1 image"), (118287, "images", "118,287 images"), (0, BYTES, "0 B"),
     (999, BYTES, "999 B"), (1000, BYTES, "1.0 KB"), (1e9, BYTES, "1.0 GB")],
)  # fmt: skip
def test_amounts_have_their_unit(number, unit, shown):
    assert amount(number, unit) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(-1, "0:00"), (59.4, "0:59"), (59.6, "1:00"), (3599.6, "1:00:00"), (7384, "2:03:04")],
)
def test_the_time_left_is_in_minutes_and_hours(seconds, shown):
    assert minutes(seconds) == shown


@pytest.mark.parametrize(("per_s", "shown"), [(0.25, "0.25"), (2.5, "2.5"), (250, "250")])
def test_a_rate_has_the_digits_that_tell_something(clock, per_s, shown):
    stage = Stage("x", 10_000, "images", clock=clock)
    for done in (100, 200):
        clock.now_s += 100 / per_s
        stage.reach(done)
    assert f"{shown} images/s" in line(stage)

"""Examples of the counts and the line that show how far a run is; time is a number that the tests set."""

import pytest

from pipeline.errors import ConfigError, ReleaseNotMadeError, StorageError
from pipeline.replicas.progress import Progress, working
from pipeline.selection.policy import PolicyConfig
from tests.pipeline.make import make_row, make_scores

ACCEPTED, REJECTED = make_row(), make_row(scores=make_scores(ensemble_variance=0.2))
FAILED = make_row(reason="undecodable")


class Clock:
    def __init__(self):
        self.now_s = 100.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def progress(clock):
    return Progress(37, PolicyConfig(), clock)


def test_a_line_has_counts_rate_shares_and_what_is_left(progress, clock):
    progress.add_computed((ACCEPTED,) * 5 + (REJECTED,) * 2 + (FAILED,))
    clock.now_s += 4
    assert progress.line() == "8/37 images, 2.0 images/s, 71% accepted, 1 failed, 0:14 left"


def test_images_at_which_memory_ran_short_are_counted(progress, clock):
    progress.add_computed((ACCEPTED, make_row(fewer_at_once=4), make_row(fewer_at_once=2)))
    clock.now_s += 1
    assert progress.line().endswith("left, memory ran short at 2")


def test_before_anything_is_done_nothing_is_claimed(progress):
    assert progress.line() == "0/37 images, 0.0 images/s, ? accepted, 0 failed, ? left"


def test_images_of_an_earlier_session_count_as_done_but_not_for_the_rate(progress, clock):
    progress.add_earlier(27)
    clock.now_s += 1
    progress.add_computed((ACCEPTED,) * 2)
    assert progress.computed == 2
    assert progress.line() == "29/37 images, 2.0 images/s, 100% accepted, 0 failed, 0:04 left"
    assert progress.settled == 29


def test_images_of_unfinished_shards_count_as_done_and_for_the_rate(progress, clock):
    clock.now_s += 2
    assert progress.line(in_flight=4) == "4/37 images, 2.0 images/s, ? accepted, 0 failed, 0:16 left"
    assert progress.images_per_s(in_flight=4) == 2.0
    assert progress.images_per_s() == 0.0


def test_failed_images_have_no_part_in_the_accepted_share(progress, clock):
    progress.add_computed((FAILED,) * 37)
    clock.now_s += 1
    assert progress.line() == "37/37 images, 37.0 images/s, ? accepted, 37 failed, 0:00 left"


def test_more_images_than_expected_leave_no_negative_time(progress, clock):
    progress.add_computed((ACCEPTED,) * 37)
    clock.now_s += 100
    assert progress.line(in_flight=2).endswith(" 0:00 left")


@pytest.mark.parametrize(("seconds", "shown"), [(59.4, "0:59"), (59.6, "1:00"), (3599.6, "1:00:00"), (7384, "2:03:04")])
def test_the_time_left_is_in_minutes_and_hours(clock, seconds, shown):
    progress = Progress(2, PolicyConfig(), clock)
    progress.add_computed((ACCEPTED,))
    clock.now_s += seconds
    assert progress.line().endswith(f", {shown} left")


def test_a_line_is_due_once_per_interval(progress, clock):
    due = []
    for _ in range(10):
        clock.now_s += 1
        due.append(progress.is_due(3))
    assert due == [False, False, True] * 3 + [False]


def test_the_policy_decides_what_is_shown_as_accepted(clock):
    progress = Progress(1, PolicyConfig(max_variance=0.25), clock)
    progress.add_computed((REJECTED,))
    assert progress.decisions == {"accepted": 1}


def test_a_wrong_request_that_comes_after_images_were_computed_is_no_longer_one():
    progress = Progress(5, PolicyConfig())
    with pytest.raises(ConfigError, match=r"^no$"), working(progress):
        raise ConfigError("no")
    progress.add_computed([make_row(), make_row()], 2)
    with pytest.raises(ReleaseNotMadeError, match=r"no\. 2 of 5 images are committed and stay"), working(progress):
        raise ConfigError("no")
    with pytest.raises(StorageError, match=r"^torn$"), working(progress):
        raise StorageError("torn")

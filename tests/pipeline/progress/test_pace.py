"""The time left runs down: between batches, and over batches that are as fast as those before."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.progress.pace import SAME_BATCH_S, Pace
from tests.pipeline.progress.make import Clock

SECONDS = st.floats(0.01, 1e4)
STEPS = st.lists(st.tuples(SECONDS, st.integers(-3, 50)), max_size=30)
"""What happens: so many seconds pass, then so much is done; less than nothing if a replica has died."""
ALMOST = 1 + 1e-9


GAPS = st.floats(SAME_BATCH_S, 1e4)


def paced(total, done=0):
    clock = Clock()
    return Pace(total, done, clock), clock


@given(STEPS, st.lists(SECONDS, min_size=1, max_size=5), st.sampled_from([20, 1000]))
def test_between_two_batches_the_time_left_never_rises_and_is_never_below_zero(steps, waits, total):
    pace, clock = paced(total)  # more may be done than anybody knew of
    for seconds, gained in steps:
        clock.now_s += seconds
        pace.reach(max(0, pace.done + gained))
    shown = [pace.left_s()]
    for wait_s in waits:
        clock.now_s += wait_s
        shown.append(pace.left_s())
    if shown[0] is None:
        assert set(shown) == {None}
    else:
        assert all(after <= before for before, after in itertools.pairwise(shown))
        assert min(shown) >= 0


@given(GAPS, st.integers(1, 20), st.integers(3, 40), SECONDS, st.integers(0, 1000))
def test_equal_batches_give_the_true_time_left_whatever_came_before_them(gap_s, batch, batches, start_s, earlier):
    pace, clock = paced(earlier + batch * batches, earlier)
    clock.now_s += start_s  # the model is loaded
    for number in range(1, batches + 1):
        clock.now_s += gap_s
        for _ in range(batch):  # one by one, at the same moment
            pace.reach(pace.done + 1)
        if number == 1:
            assert pace.left_s() is None
        else:
            assert pace.left_s() == pytest.approx((batches - number) * gap_s, rel=1e-6, abs=1e-6)
            assert pace.per_s() == pytest.approx(batch / gap_s)


@given(STEPS, st.integers(1, 50), st.floats(0.1, 1))
def test_a_batch_that_is_no_slower_than_those_before_does_not_raise_the_time_left(steps, gained, share):
    pace, clock = paced(10_000)
    for seconds, gain in steps:
        clock.now_s += seconds
        pace.reach(max(0, pace.done + gain))
    if (rate := pace.per_s()) is None:
        return
    clock.now_s = pace._last + share * gained / rate
    before = pace.left_s()
    pace.reach(pace.done + gained)
    assert pace.left_s() <= before * ALMOST + 1e-6


def test_a_shard_after_the_other_runs_down_like_a_clock():
    """Shards of four batches of two images, as a replica predicts them; looked at every second."""
    pace, clock = paced(80)
    shown = []
    for second in range(1, 161):
        clock.now_s += 1
        if second % 4 == 0:
            pace.reach(second // 2)
        shown.append(pace.left_s())
    assert shown[:7] == [None] * 7
    assert shown[7:] == pytest.approx(list(range(152, -1, -1)))


def test_a_pace_that_changes_is_followed_within_minutes():
    pace, clock = paced(100_000)
    for gap_s, batches in ((1.0, 100), (4.0, 100)):
        for _ in range(batches):
            clock.now_s += gap_s
            pace.reach(pace.done + 1)
    assert pace.per_s() == pytest.approx(0.25, rel=0.1)


def test_images_lost_with_a_replica_are_left_again():
    pace, clock = paced(10)
    for done in (2, 4):
        clock.now_s += 2
        pace.reach(done)
    assert pace.left_s() == pytest.approx(6)
    pace.reach(3)
    assert pace.left_s() == pytest.approx(7)


def test_without_a_total_there_is_a_rate_alone():
    pace, clock = paced(None)
    for done in (1, 2):
        clock.now_s += 2
        pace.reach(done)
    assert (pace.per_s(), pace.left_s()) == (0.5, None)

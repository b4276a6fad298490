"""Properties of amounts over time: nothing is lost however often bins are merged, and there are never too many."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.watching.timeline import FIRST_WIDTH_S, MOST_BINS, Axis, Series

BEGAN_S = 1e9
moments = st.floats(0, 1e6).map(lambda seconds: BEGAN_S + seconds)
stretches = st.tuples(moments, moments).map(sorted)
additions = st.lists(st.tuples(stretches, st.floats(0, 1e6)), max_size=20)


def filled(axis, added):
    series = Series(axis)
    for (from_s, to_s), amount in added:
        series.add(from_s, to_s, amount)
    return series


@given(additions, additions)
def test_the_amounts_add_up_and_have_few_bins_also_for_a_series_that_was_idle(one, other):
    axis = Axis(BEGAN_S)
    first = filled(axis, one)
    second = filled(axis, other)
    for series, added in ((first, one), (second, other)):
        total = sum(amount for _, amount in added)
        assert sum(series.amounts()) == pytest.approx(total)
        assert len(series.amounts()) <= MOST_BINS
        assert all(amount >= 0 for amount in series.amounts())


@given(additions)
def test_series_in_any_order_give_the_same_bins(added):
    axis = Axis(BEGAN_S)
    one, other = filled(axis, added).amounts(), filled(axis, added[::-1]).amounts()
    longest = max(len(one), len(other))
    assert (*one, *[0.0] * (longest - len(one))) == pytest.approx((*other, *[0.0] * (longest - len(other))))


@given(st.floats(0, 1e8))
def test_bins_are_as_narrow_as_their_number_allows(seconds):
    axis = Axis(BEGAN_S)
    axis.reach(BEGAN_S + seconds)
    assert axis.width_s == FIRST_WIDTH_S * 2**axis.doublings
    assert axis.began_s + MOST_BINS * axis.width_s > BEGAN_S + seconds
    assert axis.width_s == FIRST_WIDTH_S or BEGAN_S + seconds - axis.began_s >= MOST_BINS * axis.width_s / 2


def test_an_amount_is_spread_evenly_over_the_time_in_which_it_came():
    series = Series(Axis(BEGAN_S))
    series.add(BEGAN_S + FIRST_WIDTH_S / 2, BEGAN_S + 2.5 * FIRST_WIDTH_S, 8.0)
    assert series.amounts() == pytest.approx((2.0, 4.0, 2.0))


def test_what_comes_at_one_moment_is_in_its_bin():
    series = Series(Axis(BEGAN_S))
    series.add(BEGAN_S + 3 * FIRST_WIDTH_S, BEGAN_S + 3 * FIRST_WIDTH_S, 5)
    series.add(BEGAN_S - 9, BEGAN_S - 9, 1)
    assert series.amounts() == (1.0, 0.0, 0.0, 5.0)
    assert math.fsum(series.amounts()) == 6.0

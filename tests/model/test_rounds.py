"""Rounds of members, and what makes the variance over a part of an ensemble comparable with that over all."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.rounds import FIRST_ROUND, LATER_ROUNDS, rounds, variance_scale


@given(st.integers(1, 200))
def test_rounds_hold_every_member_once_in_order(ensemble_size):
    assert [number for numbers in rounds(ensemble_size) for number in numbers] == list(range(ensemble_size))


@given(st.integers(2, 200))
def test_no_round_has_a_single_member_nor_more_than_one_too_many(ensemble_size):
    sizes = [len(numbers) for numbers in rounds(ensemble_size)]
    assert min(sizes) >= 2
    assert set(sizes[1:-1]) <= {LATER_ROUNDS}
    assert sizes[-1] <= max(FIRST_ROUND, LATER_ROUNDS) + 1


@pytest.mark.parametrize(
    ("ensemble_size", "sizes"),
    [(1, [1]), (2, [2]), (3, [3]), (4, [4]), (5, [3, 2]), (7, [3, 2, 2]), (10, [3, 2, 2, 3])],
)
def test_rounds_of_known_ensembles(ensemble_size, sizes):
    assert [len(numbers) for numbers in rounds(ensemble_size)] == sizes


@pytest.mark.parametrize("members", [2, 3, 6])
def test_the_scaled_variance_of_some_members_is_on_average_that_of_all(members):
    draws = np.random.default_rng(0).random((20_000, 10))
    some = draws[:, :members].var(1).mean() * variance_scale(members, 10)
    assert some == pytest.approx(draws.var(1).mean(), rel=0.02)
    assert draws[:, :members].var(1).mean() < 0.95 * draws.var(1).mean()


@given(st.integers(1, 50))
def test_the_variance_of_a_whole_ensemble_and_of_one_member_are_left_as_they_are(ensemble_size):
    assert variance_scale(ensemble_size, ensemble_size) == variance_scale(1, ensemble_size) == 1.0

"""Two scores together: the mean of their ranks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.evaluation.confident import ConfidentlyWrong
from pipeline.evaluation.together import all_pairs, together

PAIRS = st.lists(st.tuples(st.integers(-5, 5), st.integers(-5, 5)), min_size=1, max_size=20)


@given(PAIRS, st.sampled_from([lambda s: 2 * s + 1, np.arcsinh]))
def test_only_the_order_of_each_score_counts_and_not_which_is_first(pairs, transform):
    one, other = np.array(pairs, dtype=np.float64).T
    assert np.array_equal(together(one, other), together(other, transform(one)))


@given(PAIRS)
def test_a_score_with_itself_ranks_as_it_does_alone_and_ranks_add_up(pairs):
    one, other = np.array(pairs, dtype=np.float64).T
    same, count = together(one, one), len(one)
    assert np.array_equal(np.argsort(same, kind="stable"), np.argsort(one, kind="stable"))
    assert together(one, other).sum() == pytest.approx(count * (count + 1) / 2)


def test_every_pair_is_judged_once_in_the_order_of_the_scores():
    badnesses = {"a": np.array([1.0, 2, 3, 4]), "b": np.array([4.0, 3, 2, 1]), "c": np.array([1.0, 1, 1, 9])}
    errors = {"mae": np.array([0.1, 0.2, 0.3, 0.9])}
    wrong = ConfidentlyWrong(
        wrong=np.array([False, False, False, True]), good=np.array([True] * 3 + [False]), highest_iou=0
    )
    found = all_pairs(badnesses, errors, wrong)
    assert [pair.scores for pair in found] == [("a", "b"), ("a", "c"), ("b", "c")]
    nothing, both, _ = found
    assert nothing.risk_coverage["mae"].gain == pytest.approx(0)
    assert both.risk_coverage["mae"].gain == pytest.approx(1)
    assert both.caught == {"lost_5_percent": 1, "lost_10_percent": 1}
    assert nothing.caught == {"lost_5_percent": 0, "lost_10_percent": 0}
    assert all(pair.caught == {} for pair in all_pairs(badnesses, errors, None))

"""The mean with the help of a prediction: as exact as without, whatever the prediction is worth."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from pipeline.audit.proofs.betting import DrawnValues, mean_interval
from pipeline.audit.proofs.powered import powered_interval, predictions
from pipeline.selection.scores import SCORE_TABLE
from tests.pipeline.audit.synthetic import realistic_ious

IOU, VARIANCE = SCORE_TABLE["pairwise_iou"], SCORE_TABLE["ensemble_variance"]
SHARES = st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=30)


def interval_of(predicted, values, places, alpha=0.05):
    drawn = {"all": DrawnValues(population=len(predicted), lowest=values[places], highest=values[places])}
    return powered_interval(predicted, drawn, {"all": predicted[places]}, alpha)


def predictions_of(kind, values, rng):
    return {
        "good": np.clip(values + rng.normal(0, 0.03, len(values)), 0, 1),
        "too high": np.full(len(values), 1.0),
        "backwards": 1 - values,
        "noise": rng.random(len(values)),
    }[kind]


def times_missed(kind, drawn, repeats, alpha):
    rng = np.random.default_rng(2)
    values = realistic_ious(1000, rng)
    predicted = predictions_of(kind, values, rng)
    missed = 0
    for _ in range(repeats):
        found = interval_of(predicted, values, rng.choice(1000, drawn, replace=False), alpha)
        missed += not found.lower <= values.mean() <= found.upper
    return missed


@pytest.mark.parametrize("kind", ["good", "too high", "backwards", "noise"])
def test_the_mean_is_missed_no_more_often_than_the_interval_says(kind):
    assert times_missed(kind, 80, 100, 0.2) <= binom.ppf(0.9999, 100, 0.2)


@pytest.mark.thorough
@pytest.mark.parametrize("alpha", [0.2, 0.05])
@pytest.mark.parametrize("drawn", [12, 400])
@pytest.mark.parametrize("kind", ["good", "too high", "backwards", "noise"])
def test_the_mean_is_missed_no_more_often_than_the_interval_says_in_2000_draws(kind, drawn, alpha):
    assert times_missed(kind, drawn, 2000, alpha) <= binom.ppf(0.9999, 2000, alpha)


@given(SHARES)
def test_a_census_gives_the_mean_itself(pairs):
    predicted, values = np.array(pairs).T
    found = interval_of(predicted, values, np.arange(len(values)))
    assert (found.lower, found.upper) == pytest.approx((values.mean(), values.mean()), abs=1e-9)


@given(SHARES, st.data())
def test_the_ends_are_in_order_and_within_0_and_1(pairs, data):
    predicted, values = np.array(pairs).T
    places = data.draw(st.lists(st.integers(0, len(values) - 1), min_size=1, unique=True))
    found = interval_of(predicted, values, np.array(places))
    assert 0 <= found.lower <= found.upper <= 1


def test_a_census_whose_mean_is_an_end_is_within_0_and_1_in_spite_of_rounding():
    for predicted in ([0.0, 0.0, 0.5], [1.0, 1.0, 0.5]):
        for value in (0.0, 1.0):
            found = interval_of(np.array(predicted), np.full(3, value), np.arange(3))
            assert 0 <= found.lower <= found.upper <= 1
            assert (found.lower, found.upper) == pytest.approx((value, value), abs=1e-9)


def test_a_prediction_that_knows_nothing_is_the_interval_without_it():
    rng = np.random.default_rng(5)
    values = realistic_ious(500, rng)
    places = rng.choice(500, 60, replace=False)
    alone = mean_interval({"all": DrawnValues(population=500, lowest=values[places], highest=values[places])}, 0.05)
    found = interval_of(np.full(500, 0.5), values, places)
    assert (found.lower, found.upper) == pytest.approx((alone.lower, alone.upper), abs=1e-9)


def test_a_good_prediction_narrows_the_interval():
    rng = np.random.default_rng(6)
    values = realistic_ious(5000, rng)
    places = rng.choice(5000, 400, replace=False)
    good = interval_of(predictions_of("good", values, rng), values, places)
    none = interval_of(np.full(5000, 0.5), values, places)
    assert good.upper - good.lower < 0.6 * (none.upper - none.lower)


def test_by_hand_predictions_off_by_a_constant_give_the_mean_with_one_image_left():
    # Errors lie between -0.8 and 0.5, and nine of ten are 0.1: only the tenth is open, by at most 1.3 / 10.
    predicted = np.array([0.5] * 5 + [0.8] * 5)
    found = interval_of(predicted, predicted + 0.1, np.arange(9))
    assert found.lower >= 0.65 + 0.1 * 0.9 - 0.8 / 10 - 1e-9
    assert found.upper <= 0.65 + 0.1 * 0.9 + 0.5 / 10 + 1e-9


def test_predictions_are_high_where_masks_are_good_and_the_mean_of_the_others_where_unknown():
    assert predictions([0.9, None, 0.7, float("nan")], IOU).tolist() == pytest.approx([0.9, 0.8, 0.7, 0.8])
    assert predictions([0.1, None, 0.2], VARIANCE).tolist() == pytest.approx([0.9, 0.85, 0.8])
    assert predictions([None, None], IOU) is None

"""Properties of risk-coverage curves, and small curves computed by hand."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pipeline.evaluation.measures import measure
from pipeline.evaluation.risk_coverage import ERRORS, badness, risk_coverage, risk_coverages
from pipeline.selection.scores import SCORE_TABLE, SCORES, Score
from tests.pipeline.evaluation.make import saliency, truth

WORSE = st.sampled_from(["high", "low"])
ERROR = st.floats(0, 1, allow_subnormal=False)
SCORE = st.one_of(st.floats(-1e6, 1e6), st.integers(0, 3).map(float))
ROWS = st.lists(st.tuples(SCORE, ERROR), min_size=1, max_size=20)


def columns(rows):
    scores, errors = np.array(rows).T
    return scores, errors


# Properties


@given(ROWS, WORSE)
def test_keeping_all_has_the_mean_error_and_no_score_beats_the_oracle(rows, worse):
    scores, errors = columns(rows)
    found = risk_coverage(scores, errors, worse)
    assert len(found.risks) == len(rows)
    assert found.risks[-1] == pytest.approx(errors.mean())
    assert found.random_aurc == pytest.approx(errors.mean())
    assert all(mine >= best - 1e-9 for mine, best in zip(found.risks, found.oracle_risks, strict=True))
    assert found.e_aurc >= -1e-9
    assert found.gain is None or found.gain <= 1 + 1e-6


@given(st.lists(ERROR, min_size=1, max_size=20))
def test_the_errors_themselves_are_the_oracle(errors):
    errors = np.array(errors)
    found = risk_coverage(errors, errors, "high")
    assert found.risks == found.oracle_risks
    assert found.e_aurc == 0
    assert found.gain is None or found.gain == pytest.approx(1)
    assert list(found.risks) == sorted(found.risks) or np.diff(found.risks).min() > -1e-9


@given(st.lists(ERROR, min_size=1, max_size=20), st.floats(-5, 5), WORSE)
def test_a_score_that_is_the_same_everywhere_knows_nothing(errors, value, worse):
    errors = np.array(errors)
    found = risk_coverage(np.full(len(errors), value), errors, worse)
    assert found.risks == pytest.approx([errors.mean()] * len(errors))
    assert found.aurc == pytest.approx(found.random_aurc)
    assert found.gain is None or found.gain == pytest.approx(0, abs=1e-3)


@given(st.lists(ERROR, min_size=1, max_size=6))
def test_over_all_orders_a_score_has_the_mean_error_on_average(errors):
    errors = np.array(errors)
    rng = np.random.default_rng(0)
    aurcs = [risk_coverage(rng.permutation(len(errors)) * 1.0, errors, "high").aurc for _ in range(100)]
    spread = errors.std()
    assert np.mean(aurcs) == pytest.approx(errors.mean(), abs=0.4 * spread + 1e-9)


@given(ROWS, WORSE, st.sampled_from([lambda s: 3 * s + 1, np.arcsinh, lambda s: s**3]))
def test_only_the_order_of_the_scores_counts(rows, worse, transform):
    scores, errors = columns(rows)
    moved = transform(scores)
    assume(len(np.unique(moved)) == len(np.unique(scores)))
    assert risk_coverage(moved, errors, worse) == risk_coverage(scores, errors, worse)


@given(ROWS, WORSE)
def test_the_other_end_is_the_score_with_its_sign_changed(rows, worse):
    scores, errors = columns(rows)
    other = "low" if worse == "high" else "high"
    assert risk_coverage(-scores, errors, other) == risk_coverage(scores, errors, worse)


@given(ROWS, WORSE, st.randoms())
def test_the_order_of_the_images_changes_no_bit(rows, worse, random):
    shuffled = random.sample(rows, len(rows))
    assert risk_coverage(*columns(shuffled), worse) == risk_coverage(*columns(rows), worse)


@given(ROWS, WORSE)
def test_ties_count_as_the_mean_over_all_ways_to_break_them(rows, worse):
    scores, errors = columns(rows)
    found = risk_coverage(scores, errors, worse)
    badness = scores if worse == "high" else -scores
    for kept in range(1, len(rows) + 1):
        bound = np.sort(badness)[kept - 1]
        sure, tied = badness < bound, badness == bound
        expected = (errors[sure].sum() + (kept - sure.sum()) * errors[tied].mean()) / kept
        assert found.risks[kept - 1] == pytest.approx(expected)


@given(st.lists(st.none() | SCORE, min_size=1, max_size=20), WORSE)
def test_what_is_unknown_is_worse_than_anything_known_and_the_known_keep_their_order(values, worse):
    bad = badness(values, worse)
    known = [value for value in values if value is not None]
    expected = known if worse == "high" else [-value for value in known]
    assert [number for number, value in zip(bad, values, strict=True) if value is not None] == expected
    unknown = {number for number, value in zip(bad, values, strict=True) if value is None}
    assert len(unknown) <= 1
    assert all(number > max(expected, default=-np.inf) for number in unknown)


# Examples by hand


def test_a_score_that_ranks_two_of_three_images_correctly():
    found = risk_coverage(np.array([1.0, 3.0, 2.0]), np.array([0.0, 0.2, 0.4]), "high")
    assert found.risks == pytest.approx((0, 0.2, 0.2))
    assert found.oracle_risks == pytest.approx((0, 0.1, 0.2))
    assert found.aurc == pytest.approx(0.4 / 3)
    assert found.oracle_aurc == pytest.approx(0.1)
    assert found.random_aurc == pytest.approx(0.2)
    assert found.e_aurc == pytest.approx(0.1 / 3)
    assert found.gain == pytest.approx(2 / 3)


@pytest.mark.parametrize(("images", "kept"), [(1, 1), (2, 2), (3, 2), (5, 4), (6, 4), (300, 200)])
def test_a_third_is_rounded_down(images, kept):
    found = risk_coverage(np.arange(images) * 1.0, np.arange(images) * 1.0, "high")
    assert found.third_dropped == pytest.approx((kept - 1) / 2)


def test_dropping_the_worst_third_lowers_the_error():
    found = risk_coverage(np.array([3.0, 2.0, 1.0]), np.array([0.1, 0.2, 0.6]), "low")
    assert found.third_dropped == pytest.approx(0.15)
    assert found.lowered_by == pytest.approx(0.5)
    assert risk_coverage(np.array([3.0, 2.0, 1.0]), np.array([0.1, 0.2, 0.6]), "high").lowered_by == pytest.approx(
        -1 / 3
    )


def test_without_a_possible_gain_there_is_no_figure():
    equal = risk_coverage(np.array([1.0, 2.0, 3.0]), np.array([0.1, 0.1, 0.1]), "high")
    assert equal.gain is None
    assert equal.lowered_by == pytest.approx(0)
    perfect = risk_coverage(np.array([1.0, 2.0]), np.zeros(2), "high")
    assert (perfect.gain, perfect.lowered_by) == (None, None)


@pytest.mark.parametrize(
    ("scores", "errors", "said"),
    [
        ([], [], "at least one"),
        ([1.0], [0.1, 0.2], r"\(1,\) scores and \(2,\) errors"),
        ([float("nan")], [0.1], "not finite"),
        ([1.0], [float("inf")], "not finite"),
    ],
)
def test_scores_and_errors_that_do_not_match_are_refused(scores, errors, said):
    with pytest.raises(ValueError, match=said):
        risk_coverage(np.array(scores), np.array(errors), "high")


# Our scores


def test_every_score_is_compared_with_every_error():
    measures = [measure(saliency(number), truth(number)) for number in (1, 5, 12)]
    scores = [dict.fromkeys(SCORES, 0.5) | {"pairwise_iou": image.iou} for image in measures]
    found = risk_coverages(scores, measures, SCORE_TABLE)
    assert tuple(found) == SCORES
    assert all(tuple(by_error) == tuple(ERRORS) for by_error in found.values())
    assert found["pairwise_iou"]["iou_error"].gain == pytest.approx(1)
    assert found["pairwise_iou"]["iou_error"].random_aurc == pytest.approx(1 - np.mean([m.iou for m in measures]))
    assert found["area"]["mae"].random_aurc == pytest.approx(np.mean([m.mae for m in measures]))
    assert found["area"]["s_error"].random_aurc == pytest.approx(1 - np.mean([m.s_measure for m in measures]))


def test_scores_and_measures_that_some_image_lacks_are_left_out():
    measures = [measure(saliency(number), truth(number), metrics=("mae",)) for number in (1, 2)]
    assert risk_coverages([{}, {}], measures, SCORE_TABLE) == {}
    found = risk_coverages([{"area": 1.0, "border": 0.0}, {"area": 2.0}], measures, SCORE_TABLE)
    assert list(found) == ["area"]
    assert list(found["area"]) == ["mae"]


def test_a_score_of_a_pass_counts_though_some_images_have_none():
    measures = [measure(saliency(number), truth(number)) for number in (1, 5, 12)]
    mine = Score(name="mine", meaning="x", worse_when="low", of_pass="p")
    found = risk_coverages([{"mine": 0.9}, {"mine": None}, {}], measures, {"mine": mine})
    assert list(found) == ["mine"]
    assert found["mine"]["iou_error"].risks[0] == 1 - measures[0].iou
    assert risk_coverages([{"mine": None}, {}, {}], measures, {"mine": mine}) == {}

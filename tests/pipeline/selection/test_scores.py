"""Properties and examples of scores, and of the table that describes them."""

from dataclasses import fields
from itertools import combinations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from model.maps import quantise_saliency
from model.prediction import ensemble_variance
from pipeline.collection.instances import CrossCheck
from pipeline.files.maps import mask_of
from pipeline.selection.scores import (
    CROSS_CHECKS,
    SCORE_TABLE,
    SCORES,
    pairwise_iou,
    score,
)
from tests.pipeline.make import make_prediction

SHAPES = arrays.array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=7).map(
    lambda shape: (shape[0] + 1, *shape[1:])
)
MEMBERS = arrays.arrays(np.float32, SHAPES, elements=st.floats(0, 1, width=32))
MASKS = arrays.arrays(np.bool_, SHAPES)


def disc(row, column, px=32):
    places = np.arange(px) / px
    return (np.hypot(places[:, None] - row, places[None, :] - column) < 0.25).astype(np.float32)


# Properties


@given(MASKS)
def test_pairwise_iou_is_the_mean_over_all_pairs_taken_one_by_one(masks):
    ious = []
    for first, second in combinations(masks, 2):
        union = np.count_nonzero(first | second)
        ious.append(np.count_nonzero(first & second) / union if union else 1.0)
    assert pairwise_iou(masks) == pytest.approx(np.mean(ious), abs=1e-12)


def test_a_mask_alone_agrees_with_itself():
    assert pairwise_iou(np.eye(3, dtype=np.bool_)[None]) == 1


def plain_iou(masks):
    flat = masks.reshape(len(masks), -1).astype(np.float64)
    pairs = np.triu_indices(len(masks), k=1)
    shared = (flat @ flat.T)[pairs]
    unions = np.add.outer(flat.sum(1), flat.sum(1))[pairs] - shared
    return np.mean([s / u if u else 1.0 for s, u in zip(shared, unions, strict=True)])


@given(MEMBERS)
@example(np.random.default_rng(0).random((40, 200, 300), np.float32))  # more than are looked at at once
@example(np.random.default_rng(1).random((17, 1, 4001), np.float32))
def test_scores_have_the_bits_of_plain_formulas_over_whole_maps(members):
    """Candidates have them, so another way of adding would make other files."""
    scores = score(make_prediction(members))
    variance = min(0.25, float(members.var(axis=0, dtype=np.float64).mean()))
    assert scores["ensemble_variance"] == variance
    assert scores["ensemble_variance_per_area"] == variance / max(float(members.mean(0, dtype="float64").mean()), 1e-3)
    assert scores["pairwise_iou"] == plain_iou(members >= 0.5)


@given(MEMBERS, st.randoms())
def test_the_order_of_members_does_not_matter(members, random):
    shuffled = members[random.sample(range(len(members)), len(members))]
    before, after = score(make_prediction(members)), score(make_prediction(shuffled))
    # Sums in another order differ in their last bits, so a mask may differ where the mean is on its threshold.
    for name in ("ensemble_variance", "ensemble_variance_per_area", "pairwise_iou"):
        assert after[name] == pytest.approx(before[name], abs=1e-12, rel=1e-9)
    assert after["max_saliency"] == pytest.approx(before["max_saliency"], rel=1e-6)


@given(MEMBERS)
def test_every_image_has_all_scores_within_their_finite_ranges(members):
    scores = score(make_prediction(members))
    assert tuple(scores) == SCORES
    for name, value in scores.items():
        assert type(value) is float
        assert SCORE_TABLE[name].lowest <= value <= SCORE_TABLE[name].highest + 1e-9


@given(MEMBERS)
def test_the_variance_divides_by_the_number_of_members(members):
    mean = members.astype(np.float64).sum(0) / len(members)
    expected = (np.square(members - mean).sum(0) / len(members)).mean()
    assert ensemble_variance(members) == pytest.approx(expected, abs=1e-12)
    assert ensemble_variance(members) <= 0.25


@given(MEMBERS)
def test_equal_members_have_no_variance_and_agree_fully(members):
    equal = np.repeat(members[:1], len(members), axis=0)
    scores = score(make_prediction(equal))
    assert (scores["ensemble_variance"], scores["ensemble_variance_per_area"], scores["pairwise_iou"]) == (0, 0, 1)


@given(MEMBERS)
def test_area_and_border_are_counted_in_the_mask_of_the_release(members):
    prediction = make_prediction(members)
    mask = mask_of(quantise_saliency(prediction.saliency))
    height, width = mask.shape
    border = [
        mask[row, column]
        for row in range(height)
        for column in range(width)
        if row in (0, height - 1) or column in (0, width - 1)
    ]
    scores = score(prediction)
    assert scores["area"] == mask.sum() / mask.size
    assert scores["border"] == sum(border) / len(border)


# The table


def test_scores_of_predictions_come_before_those_of_annotations_and_each_has_its_source():
    assert (*SCORES, *CROSS_CHECKS) == tuple(SCORE_TABLE)
    assert {*CROSS_CHECKS} <= {field.name for field in fields(CrossCheck)}


@pytest.mark.parametrize("name", SCORE_TABLE)
def test_the_meaning_of_a_score_says_its_range(name):
    row = SCORE_TABLE[name]
    assert row.meaning.endswith(f", {row.lowest:g} to {row.highest:g}") or name == "ensemble_variance_per_area"


def test_the_scores_of_releases_and_evaluations_keep_range_sense_and_direction():
    """Existing pages, rankings and risk-coverage curves depend on these."""
    found = {name: (row.highest, row.worse_when, row.sense, row.rankable) for name, row in SCORE_TABLE.items()}
    assert (
        found.items()
        >= {
            "ensemble_variance": (0.25, "high", "<=", True),
            "ensemble_variance_per_area": (250, "high", "<=", True),
            "pairwise_iou": (1, "low", ">=", True),
            "stability": (1, "low", ">=", True),
            "area": (1, "low", "<=", False),
            "border": (1, "high", "<=", False),
            "max_saliency": (1, "low", ">=", True),
            "instance_iou": (1, "low", ">=", True),
        }.items()
    )


# Examples


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.0, {"area": 0, "border": 0, "max_saliency": 0, "stability": 1}),
        (1.0, {"area": 1, "border": 1, "max_saliency": 1, "stability": 1}),
        (0.5, {"area": 1, "border": 1, "max_saliency": 0.5, "stability": 0}),
    ],
)
def test_a_constant_map_has_scores_like_any_other(value, expected):
    scores = score(make_prediction(np.full((3, 8, 8), value)))
    agreement = {"ensemble_variance": 0, "ensemble_variance_per_area": 0, "pairwise_iou": 1}
    assert scores.items() >= (agreement | expected).items()


def test_two_opposite_members_have_the_largest_possible_variance():
    scores = score(make_prediction(np.stack([np.zeros((4, 4)), np.ones((4, 4))])))
    assert (scores["ensemble_variance"], scores["ensemble_variance_per_area"], scores["pairwise_iou"]) == (0.25, 0.5, 0)


def test_scattered_members_have_lower_agreement_and_higher_variance():
    together = score(make_prediction([disc(0.5, 0.5), disc(0.5, 0.52), disc(0.5, 0.48)]))
    scattered = score(make_prediction([disc(0.5, 0.5), disc(0.3, 0.6), disc(0.7, 0.4)]))
    assert scattered["ensemble_variance"] > 2 * together["ensemble_variance"]
    assert scattered["pairwise_iou"] < together["pairwise_iou"]


def test_variance_per_area_is_the_same_for_an_object_in_a_smaller_and_a_larger_picture():
    members = np.stack([disc(0.5, 0.5), disc(0.5, 0.6)])
    near, far = score(make_prediction(members)), score(make_prediction(np.pad(members, ((0, 0), (32, 0), (32, 0)))))
    assert far["ensemble_variance"] == pytest.approx(near["ensemble_variance"] / 4)
    assert far["ensemble_variance_per_area"] == pytest.approx(near["ensemble_variance_per_area"])


def test_an_outline_that_moves_with_the_threshold_is_less_stable_than_a_sharp_one():
    ramp = np.linspace(0, 1, 101, dtype=np.float32)[None, :].repeat(4, axis=0)
    sharp = (ramp >= 0.5).astype(np.float32)
    assert score(make_prediction([sharp, sharp]))["stability"] == 1
    # Columns 60 to 100 of columns 40 to 100.
    assert score(make_prediction([ramp, ramp]))["stability"] == pytest.approx(41 / 61)


def test_a_corner_counts_once_in_the_border():
    members = np.zeros((2, 5, 5))
    members[:, ::4, ::4] = 1
    assert score(make_prediction(members))["border"] == 4 / 16

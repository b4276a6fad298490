"""Properties, examples and faults of policies: their bounds, thresholds and splits."""

import math
import re
from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import ConfigError
from pipeline.selection import policy as policy_module
from pipeline.selection.columns import table_with
from pipeline.selection.policy import (
    SPLITS,
    Bound,
    PolicyConfig,
    bounds,
    check_scores,
    named_scores,
    parse_splits,
    parse_threshold,
    stated,
)
from pipeline.selection.recommended import with_bounds
from pipeline.selection.scores import SCORE_TABLE, SCORES, Score
from pipeline.selection.verdicts import by_scores


def make_bound(**overrides):
    return Bound(**{"score": "area", "sense": "<=", "limit": 0.5, "reason": "x", "option": "thresholds"} | overrides)


# Properties


@given(st.sampled_from(SCORES), st.sampled_from(["<=", ">="]), st.floats(allow_nan=False, allow_infinity=False))
def test_a_threshold_is_read_as_written(score, sense, limit):
    reason = f"{score}_above_max" if sense == "<=" else f"{score}_below_min"
    for text in (f"{score}{sense}{limit!r}", f" {score} {sense} {limit!r} "):
        assert parse_threshold(text) == make_bound(score=score, sense=sense, limit=limit, reason=reason)


@given(st.floats(-1, 1), st.floats(-1, 1))
def test_a_score_passes_on_one_side_and_on_the_limit(value, limit):
    upper, lower = (make_bound(sense=sense, limit=limit) for sense in ("<=", ">="))
    assert upper.passes({"area": value}) == (value <= limit)
    assert lower.passes({"area": value}) == (value >= limit)
    assert upper.passes({"area": limit})
    assert lower.passes({"area": limit})


@given(st.lists(st.sampled_from(SPLITS), min_size=1, max_size=3, unique=True), st.data())
def test_shares_of_splits_add_up_to_one(names, data):
    parts = data.draw(st.lists(st.integers(1, 100), min_size=len(names), max_size=len(names)))
    shares = {name: part / sum(parts) for name, part in zip(names, parts, strict=True)}
    assert parse_splits([f"{name}={share!r}" for name, share in shares.items()]) == shares


LIMITS = st.sampled_from(
    [-math.inf, -0.1, -0.0, 0.0, 0.1, 0.25, 0.5, 1.0, math.nextafter(1, 2), 250.0, 251.0, math.inf]
)
THRESHOLDS = st.builds(
    lambda score, sense, limit: f"{score}{sense}{limit!r}",
    st.sampled_from(tuple(SCORE_TABLE)),
    st.sampled_from(["<=", ">="]),
    LIMITS | st.floats(allow_nan=False),
)
OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "max_variance": st.floats(0, 0.25),
        "max_variance_per_area": st.floats(0, 250),
        "min_area": st.floats(0, 1),
        "max_area": st.floats(0, 1),
    },
)


def a_value_that_passes(score, its_bounds):
    """None if the score has none: bounds are closed, so an end of the range or a limit passes if anything does."""
    ends = {score.lowest, score.highest, *(bound.limit for bound in its_bounds)}
    within = sorted(value for value in ends if score.lowest <= value <= score.highest)
    return next((value for value in within if all(bound.passes({score.name: value}) for bound in its_bounds)), None)


@given(OPTIONS, st.lists(THRESHOLDS, max_size=4))
def test_a_policy_is_refused_exactly_if_no_scores_within_their_ranges_pass(options, thresholds):
    widest = {"max_variance": 0.25, "max_variance_per_area": 250.0}
    values = stated(PolicyConfig()) | widest | options
    every_bound = [
        *(make_bound(score=b.score, sense=b.sense, limit=values[b.option]) for b in bounds(PolicyConfig())),
        *map(parse_threshold, thresholds),
    ]
    passing = {
        name: a_value_that_passes(score, [bound for bound in every_bound if bound.score == name])
        for name, score in SCORE_TABLE.items()
    }
    if None in passing.values():
        with pytest.raises(ValueError, match="the policy can accept no image: "):
            PolicyConfig(**options, thresholds=tuple(thresholds))
    else:
        policy = with_bounds(PolicyConfig(**options, thresholds=tuple(thresholds)), widest)
        assert by_scores(passing, policy).decision == "accepted"


@given(OPTIONS, OPTIONS)
def test_recommended_bounds_count_where_none_is_given(options, recommended):
    recommended = {name: bound for name, bound in recommended.items() if name.startswith("max_variance")}
    usual = {"max_variance": 0.02, "max_variance_per_area": 0.1}
    options = options | {"min_area": 0.0, "max_area": 1.0}
    policy = with_bounds(PolicyConfig(**options), recommended)
    expected = usual | recommended | options
    assert {bound.option: bound.limit for bound in bounds(policy)} == expected
    assert {name: stated(policy)[name] for name in expected} == expected
    assert with_bounds(policy, {}) == with_bounds(policy, {"max_variance": 0.25}) == policy
    assert stated(PolicyConfig()) == stated(PolicyConfig(**usual))


def test_recommended_bounds_that_contradict_the_others_are_said_to_be_the_weights():
    policy = PolicyConfig(thresholds=("ensemble_variance>=0.01",))
    assert with_bounds(policy, {"max_variance": 0.01}).max_variance == 0.01
    with pytest.raises(ConfigError, match=r"but max_variance is 0\.008.*which the weights recommend: give another"):
        with_bounds(policy, {"max_variance": 0.008})
    with pytest.raises(ConfigError, match=r"but max_variance is 0\.02.*which counts if nothing is given"):
        with_bounds(PolicyConfig(thresholds=("ensemble_variance>=0.03",)), {})


# Examples


def test_every_number_of_a_policy_is_among_its_bounds_and_every_bound_has_its_own_reason():
    numbers = {field.name for field in fields(PolicyConfig) if field.name.startswith(("max_", "min_"))}
    found = bounds(PolicyConfig(thresholds=("area<=0.5", "area>=0.1")))
    assert {bound.option for bound in found} == numbers | {"thresholds"}
    assert len({bound.reason for bound in found}) == len(found) == len(numbers) + 2


def test_bounds_come_in_the_order_of_the_verdicts_and_thresholds_in_that_of_their_texts():
    found = bounds(PolicyConfig(thresholds=("border<=0.3", "area>=0.01")))
    assert [bound.reason for bound in found] == [
        "no_salient_object",
        "object_fills_image",
        "variance_above_max",
        "variance_per_area_above_max",
        "area_below_min",
        "border_above_max",
    ]


def test_an_unknown_score_passes_no_bound():
    for sense in ("<=", ">="):
        assert not make_bound(sense=sense, limit=0).passes({"area": None})
        assert not make_bound(sense=sense, limit=0).passes({})


# Faults


@pytest.mark.parametrize("text", ["", "area", "area<0.5", "area<=", "area<=x", "area<=nan", "<=1", "area=1"])
def test_a_text_that_is_not_a_threshold_is_named(text):
    with pytest.raises(ValueError, match="threshold") as caught:
        parse_threshold(text)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"thresholds": ("pairwise_iou >= 1.5",)}, "threshold pairwise_iou>=1.5, but pairwise_iou is never above 1."),
        ({"thresholds": ("area <= -0.1",)}, "min_area is 0.005, but threshold area<=-0.1."),
        ({"thresholds": ("max_saliency<=-1",)}, "max_saliency is never below 0, but threshold max_saliency<=-1.0."),
        ({"thresholds": ("border<=-inf",)}, "border is never below 0, but threshold border<=-inf."),
        ({"thresholds": ("area >= 0.6",), "max_area": 0.5}, "threshold area>=0.6, but max_area is 0.5."),
        (
            {"thresholds": ("ensemble_variance>=0.03",), "max_variance": 0.02},
            "threshold ensemble_variance>=0.03, but max_variance is 0.02.",
        ),
        (
            {"thresholds": ("instance_iou>=0.9", "instance_iou<=0.5")},
            "threshold instance_iou>=0.9, but threshold instance_iou<=0.5.",
        ),
    ],
)
def test_a_policy_that_can_accept_no_image_is_refused_with_what_contradicts(options, said):
    with pytest.raises(ValueError, match="the policy can accept no image: ") as caught:
        PolicyConfig(**options)
    assert said in str(caught.value)


@pytest.mark.parametrize("text", ["area<=inf", "area>=-inf", "pairwise_iou<=1.5", "pairwise_iou>=1.0", "border<=0"])
def test_bounds_that_restrict_nothing_or_leave_one_value_are_allowed(text):
    assert PolicyConfig(thresholds=(text,)).thresholds == (str(parse_threshold(text)),)


@pytest.mark.parametrize(
    "texts",
    [[], ["dev"], ["test", "test"], ["test=0.5"], ["train=0.5", "test=0.6"], ["train=0", "test"], ["test=x"],
     ["train=-1", "test=2"], ["train=nan", "test=1"]],
)  # fmt: skip
def test_splits_that_make_no_whole_are_refused(texts):
    with pytest.raises(ValueError, match="split"):
        parse_splits(texts)


@pytest.mark.parametrize("name", [name for name, score in SCORE_TABLE.items() if score.rankable])
def test_the_best_are_chosen_by_any_score_that_says_how_far_a_mask_can_be_trusted(name):
    check_scores(PolicyConfig(target_images=1, rank_by=name), SCORE_TABLE)
    assert f"{name}," in Path(policy_module.__file__).read_text().split("rank_by: str", 1)[1].split("strata", 1)[0]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"thresholds": ("beauty>=1",)}, "threshold 'beauty>=1.0': unknown score 'beauty'; scores are ensemble_var"),
        ({"rank_by": "beauty"}, "rank_by is 'beauty'; it must be one of ensemble_variance, "),
        ({"rank_by": "area"}, "rank_by is 'area'; it must be one of ensemble_variance, "),
        ({"thresholds": ("sharpness>=8",)}, "threshold sharpness>=8.0, but sharpness is never above 7."),
    ],
)
def test_scores_that_there_are_not_and_ranges_of_passes_are_checked_once_the_passes_are_known(options, said):
    sharpness = Score(name="sharpness", meaning="how sharp", lowest=-1, highest=7, worse_when="low", of_pass="sharp")
    with pytest.raises(ValueError, match=re.escape(said)):
        check_scores(PolicyConfig(**options), table_with([sharpness]))
    check_scores(PolicyConfig(thresholds=("sharpness>=7",)), table_with([sharpness]))


def test_a_policy_depends_on_the_scores_of_its_bounds_and_on_that_of_the_ranking_if_there_is_one():
    named = named_scores(PolicyConfig(thresholds=("flip_iou>=0.5",), rank_by="sharpness"))
    assert named == ("area", "ensemble_variance", "ensemble_variance_per_area", "flip_iou")
    assert named_scores(PolicyConfig(target_images=3, rank_by="sharpness"))[-1] == "sharpness"

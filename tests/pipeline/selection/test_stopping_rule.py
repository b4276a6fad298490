"""The rule by which images stop: clear of every bound, by an image's own members only, and rarely wrong."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from model.config import EnsembleConfig
from model.fake import FakeModel
from pipeline.selection.policy import PolicyConfig, bounds, parse_threshold
from pipeline.selection.scores import SCORES, score
from pipeline.selection.stopping_rule import (
    bounds_in_words,
    bounds_of_predictions,
    is_clear,
    remaining_move,
    stopping_rule,
)
from pipeline.selection.verdicts import by_scores

ON = EnsembleConfig(ensemble_size=10, adaptive="on")
PHOTO = np.zeros((40, 60, 3), np.uint8)


def noisy_members(count, spread, seed=0, side=24):
    """A disc in every member, with noise of the given spread."""
    draw = np.random.default_rng(seed)
    places = (np.arange(side) + 0.5) / side - 0.5
    disc = (np.hypot(places[:, None], places[None, :]) < 0.3) * 0.8 + 0.1
    return np.clip(disc + spread * draw.standard_normal((count, side, side)), 0, 1).astype(np.float32)


# Properties


@settings(deadline=None)
@given(st.integers(3, 9), st.floats(0, 0.5), st.integers(0, 99), st.randoms())
def test_the_order_of_the_members_does_not_matter(count, spread, seed, random):
    members = noisy_members(count, spread, seed)
    order = list(range(count))
    random.shuffle(order)
    to_check = bounds_of_predictions(PolicyConfig(thresholds=("pairwise_iou>=0.8",)))
    assert is_clear(members, 10, to_check) == is_clear(members[order], 10, to_check)
    assert remaining_move(members, 10) == pytest.approx(remaining_move(members[order], 10))


@given(
    st.lists(st.floats(0.125, 0.875, width=32), min_size=3, max_size=9),
    st.sampled_from([-1, 1]),
    st.sampled_from([0.5, 1.5, 1.9, 2.1, 2.5, 10]),
)
def test_a_mean_is_clear_of_a_bound_if_it_is_two_standard_errors_away(values, side, errors):
    """The highest saliency of uniform members is a mean. The variance of a mean is s² / e, times 1 - e / E for a finite
    number of members."""
    assume(np.std(values) > 0.01)
    members = np.stack([np.full((8, 8), value, np.float32) for value in values])
    error = np.sqrt(np.var(values, ddof=1) / len(values) * (1 - len(values) / 10))
    bound = parse_threshold(f"max_saliency>={np.mean(values) + side * errors * error:.12f}")
    assert is_clear(members, 10, [bound]) == (errors > 2)


@settings(deadline=None)
@given(st.integers(3, 9), st.floats(0, 0.5), st.integers(0, 99))
def test_a_policy_with_more_bounds_never_stops_sooner(count, spread, seed):
    members = noisy_members(count, spread, seed)
    few = bounds_of_predictions(PolicyConfig())
    more = bounds_of_predictions(PolicyConfig(thresholds=("pairwise_iou>=0.8", "stability>=0.9", "border<=0.2")))
    assert is_clear(members, 10, few) or not is_clear(members, 10, more)


@given(
    st.fixed_dictionaries({name: st.floats(0, 1) for name in SCORES}),
    st.sampled_from([(), ("pairwise_iou>=0.5",), ("border<=0.3", "max_saliency>=0.6")]),
    st.floats(0, 0.25),
    st.floats(0, 1),
)
def test_the_verdict_of_a_prediction_depends_on_these_bounds_only(scores, thresholds, max_variance, min_area):
    policy = PolicyConfig(max_variance=max_variance, min_area=min_area, max_area=1.0, thresholds=thresholds)
    accepted = by_scores(scores, policy).decision == "accepted"
    assert accepted == all(bound.passes(scores) for bound in bounds_of_predictions(policy))


@settings(deadline=None)
@given(st.integers(0, 10**9))
def test_members_that_agree_are_enough_unless_a_score_lies_on_its_bound(seed):
    members = np.repeat(noisy_members(1, 0.2, seed), 3, axis=0)
    area = float((members[0] >= 0.5).mean())
    assume(0.01 < area < 0.9)
    assert stopping_rule(ON, PolicyConfig())(members)
    assert not stopping_rule(ON, PolicyConfig(min_area=area))(members)
    assert stopping_rule(ON)(members)


@settings(deadline=None, max_examples=20)
@given(st.integers(3, 9), st.floats(0.01, 0.3), st.integers(0, 99))
def test_the_remaining_move_is_the_distance_to_the_mean_of_all(count, spread, seed):
    draw = np.random.default_rng(seed)
    everyone = 0.5 + spread / 10 * draw.standard_normal((10, 200, 200))
    moved = np.sqrt(np.square(everyone[:count].mean(0) - everyone.mean(0)).mean())
    # the mean of standard deviations estimated from `count` values is below the true one by the factor c4
    assert remaining_move(everyone[:count], 10) == pytest.approx(moved, rel=0.15)


@pytest.mark.parametrize("max_variance", [0.01, 0.02, 0.03])
def test_nearly_every_verdict_equals_that_of_all_members_and_members_are_saved(max_variance):
    policy = PolicyConfig(max_variance=max_variance, max_variance_per_area=250)
    keys = [f"{number:012d}" for number in range(300)]
    images = [PHOTO] * len(keys)
    early = FakeModel(ensemble=ON, enough=stopping_rule(ON, policy)).predict(images, keys)
    whole = FakeModel(ensemble=ON).predict(images, keys)
    same = [
        by_scores(score(one), policy).decision == by_scores(score(other), policy).decision
        for one, other in zip(early, whole, strict=True)
    ]
    assert np.mean(same) >= 0.98
    assert np.mean([len(one.members) for one in early]) < 7
    assert {len(one.members) for one in early} <= {3, 5, 7, 10}


def test_scores_of_images_that_stopped_early_equal_those_of_all_members_on_average():
    images, keys = [PHOTO] * 200, [f"{2 * number + 1:012d}" for number in range(200)]
    early = FakeModel(ensemble=ON, enough=lambda _: True).predict(images, keys)
    whole = FakeModel(ensemble=ON).predict(images, keys)
    for name in ("ensemble_variance", "ensemble_variance_per_area", "pairwise_iou"):
        few, all_of_them = (np.mean([score(one)[name] for one in predictions]) for predictions in (early, whole))
        assert few == pytest.approx(all_of_them, rel=0.05), name


# Examples


def test_without_adaptive_there_is_no_rule():
    assert stopping_rule(EnsembleConfig(), PolicyConfig()) is None
    assert stopping_rule(replace(ON, adaptive="off")) is None


def test_an_image_goes_on_if_its_variance_is_near_the_bound_and_stops_if_it_is_far():
    members = noisy_members(3, 0.1)
    variance = members.var(0).mean() * 3 / 2 * 9 / 10
    near, far = (PolicyConfig(max_variance=variance * factor, max_variance_per_area=250) for factor in (1.001, 3))
    assert not stopping_rule(ON, near)(members)
    assert stopping_rule(ON, far)(members)


def test_without_bounds_an_image_goes_on_if_members_move_the_map():
    assert stopping_rule(ON)(noisy_members(3, 0.01))
    assert not stopping_rule(ON)(noisy_members(3, 0.3))


def test_bounds_on_a_comparison_with_annotations_are_skipped():
    to_check = bounds_of_predictions(PolicyConfig(thresholds=("instance_iou>=0.5", "border<=0.3")))
    assert parse_threshold("border<=0.3") in to_check
    assert not any(bound.score == "instance_iou" for bound in to_check)


def test_the_fingerprint_of_a_run_has_the_bounds_in_the_order_of_the_options():
    """Another text would make existing runs look as if they were made with something else."""
    policy = PolicyConfig(max_area=1, thresholds=("instance_iou>=0.5", "border <= 0.30", "area>=0.01"))
    words = bounds_in_words(policy)
    assert words.startswith("ensemble_variance<=0.02 ensemble_variance_per_area<=0.1 area>=0.005 area<=1.0 ")
    assert words.endswith(" area>=0.01 border<=0.3")
    assert len(words.split()) == len(bounds(policy)) - 1


def test_members_with_nan_are_never_enough():
    members = noisy_members(3, 0.1)
    members[0, 0, 0] = np.nan
    assert not stopping_rule(ON)(members)
    assert not stopping_rule(ON, PolicyConfig())(members)

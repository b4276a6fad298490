"""Properties and examples of verdicts."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.collection.collection import License
from pipeline.collection.instances import UNCHECKED, CrossCheck
from pipeline.errors import FAILURE_REASONS
from pipeline.records import Verdict
from pipeline.selection.policy import PolicyConfig, bounds
from pipeline.selection.verdicts import considered, decide, select
from tests.pipeline.make import make_key, make_row, make_sample, make_scores

SHARES = st.floats(0, 1)
ROWS = st.builds(
    lambda variance, per_area, area: make_row(
        scores=make_scores(ensemble_variance=variance, ensemble_variance_per_area=per_area, area=area)
    ),
    st.floats(0, 0.25),
    st.floats(0, 250),
    SHARES,
)
POLICIES = st.builds(
    lambda variance, per_area, areas: PolicyConfig(
        max_variance=variance, max_variance_per_area=per_area, min_area=min(areas), max_area=max(areas)
    ),
    st.floats(0, 0.25),
    st.floats(0, 250),
    st.tuples(SHARES, SHARES),
)


def rejected(reason):
    return Verdict(decision="rejected", reason=reason)


def between(start, end, share):
    """The point at the given share of the way, never beyond the end, where a sum of floats may land."""
    return float(np.clip(start + (end - start) * share, min(start, end), max(start, end)))


ACCEPTED = Verdict(decision="accepted", reason="")
POLICY = PolicyConfig(max_variance=0.02, max_variance_per_area=0.1, min_area=0.1, max_area=0.9)
DECIDING = {bound.score for bound in bounds(POLICY)}


# Properties


@given(ROWS, POLICIES, st.floats(0, 1))
def test_a_stricter_policy_never_accepts_what_a_laxer_one_rejects(row, lax, factor):
    stricter = (
        replace(lax, max_variance=lax.max_variance * factor),
        replace(lax, max_variance_per_area=lax.max_variance_per_area * factor),
        replace(lax, min_area=between(lax.min_area, lax.max_area, factor)),
        replace(lax, max_area=between(lax.max_area, lax.min_area, factor)),
    )
    if decide(row, lax) != ACCEPTED:
        assert ACCEPTED not in [decide(row, policy) for policy in stricter]


@given(ROWS, POLICIES)
def test_a_predicted_image_is_accepted_without_a_reason_or_rejected_with_one(row, policy):
    verdict = decide(row, policy)
    assert verdict == ACCEPTED or verdict in [rejected(bound.reason) for bound in bounds(policy)]


@given(st.sampled_from(sorted(FAILURE_REASONS)), POLICIES)
def test_a_failed_image_stays_failed_with_its_reason_whatever_the_policy(reason, policy):
    assert decide(make_row(reason=reason), policy) == Verdict(decision="failed", reason=reason)


@given(ROWS, POLICIES, st.floats(0, 1))
def test_other_scores_than_those_of_the_policy_do_not_matter(row, policy, value):
    others = dict.fromkeys(row.scores, value) | {name: row.scores[name] for name in DECIDING}
    assert decide(replace(row, scores=others), policy) == decide(row, policy)


# Examples


@pytest.mark.parametrize(
    ("name", "bound", "outwards", "reason"),
    [
        ("ensemble_variance", 0.02, 1, "variance_above_max"),
        ("ensemble_variance_per_area", 0.1, 1, "variance_per_area_above_max"),
        ("area", 0.1, 0, "no_salient_object"),
        ("area", 0.9, 1, "object_fills_image"),
    ],
)
def test_a_score_on_its_bound_is_accepted_and_the_next_float_beyond_it_rejected(name, bound, outwards, reason):
    assert decide(make_row(scores=make_scores(**{name: bound})), POLICY) == ACCEPTED
    beyond = float(np.nextafter(bound, outwards))
    assert decide(make_row(scores=make_scores(**{name: beyond})), POLICY) == rejected(reason)


@pytest.mark.parametrize(("area", "reason"), [(0.05, "no_salient_object"), (0.95, "object_fills_image")])
def test_the_area_is_checked_before_the_variance(area, reason):
    assert decide(make_row(scores=make_scores(area=area, ensemble_variance=0.2)), POLICY) == rejected(reason)


# Over all images


VARIANCES = st.lists(st.floats(0, 0.02), min_size=1, max_size=8)


def choose(rows, licenses=None, ids=None, checks=None, **policy):
    """Verdicts on rows with the keys 1, 2, …; `ids` are of their licences, `checks` their agreement with instances."""
    licenses, images = licenses or {}, []
    for place, row in enumerate(rows):
        number = ids[place] if ids else 1
        url = licenses[number].url if number in licenses else ""
        sample = make_sample(key=row.key, image_id=int(row.key), license_id=number, width=200, height=100)
        images.append(considered(row, sample, url, checks[place] if checks else UNCHECKED))
    return select(images, PolicyConfig(**policy))


def rows_with(score, values):
    return [make_row(key=make_key(n), scores=make_scores(**{score: value})) for n, value in enumerate(values, start=1)]


@given(VARIANCES, st.integers(1, 9))
def test_only_the_best_are_kept_up_to_the_target(variances, target):
    verdicts = choose(rows_with("ensemble_variance", variances), target_images=target, rank_by="ensemble_variance")
    kept = [value for value, verdict in zip(variances, verdicts.values(), strict=True) if verdict == ACCEPTED]
    assert sorted(kept) == sorted(variances)[:target]
    assert set(verdicts.values()) <= {ACCEPTED, rejected("beyond_target")}


@given(st.permutations(range(6)), st.integers(0, 6))
def test_the_order_of_the_rows_decides_nothing(order, target):
    rows = rows_with("pairwise_iou", [0.5, 0.9, 0.9, 0.7, 0.9, 0.1])
    expected = choose(rows, target_images=target, rank_by="pairwise_iou")
    assert choose([rows[place] for place in order], target_images=target, rank_by="pairwise_iou") == expected


@pytest.mark.parametrize(("rank_by", "best"), [("pairwise_iou", 2), ("stability", 2), ("ensemble_variance", 1)])
def test_high_is_good_where_members_agree_and_low_where_they_differ(rank_by, best):
    verdicts = choose(rows_with(rank_by, [0.01, 0.02]), target_images=1, rank_by=rank_by)
    assert [key for key, verdict in verdicts.items() if verdict == ACCEPTED] == [make_key(best)]


def test_rejected_and_failed_images_do_not_count_for_the_target():
    rows = [make_row(key=make_key(1), scores=make_scores(area=0)), make_row(key=make_key(2), reason="missing")]
    verdicts = choose([*rows, make_row(key=make_key(3))], target_images=1)
    assert [verdict.decision for verdict in verdicts.values()] == ["rejected", "failed", "accepted"]


@pytest.mark.parametrize(
    ("text", "reason"), [("border<=0.4", "border_above_max"), ("pairwise_iou >= 0.6", "pairwise_iou_below_min")]
)
def test_a_threshold_on_any_score_rejects_with_its_name(text, reason):
    assert decide(make_row(), PolicyConfig(thresholds=(text,))) == rejected(reason)
    assert decide(make_row(), PolicyConfig(thresholds=("border<=0.5", "pairwise_iou>=0.5"))) == ACCEPTED


def test_images_with_a_licence_that_is_not_allowed_are_rejected():
    verdicts = choose(rows_with("area", [0.2, 0.2, 0]), ids=[4, 2, 2], allowed_licenses=(4, 5))
    assert list(verdicts.values()) == [ACCEPTED, rejected("license_not_allowed"), rejected("no_salient_object")]


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("http://creativecommons.org/licenses/by-nc-sa/2.0/", False),
        ("http://creativecommons.org/licenses/by-nc/2.0/", False),
        ("http://creativecommons.org/licenses/by-nc-nd/2.0/", False),
        ("http://creativecommons.org/licenses/by/2.0/", True),
        ("http://creativecommons.org/licenses/by-sa/2.0/", True),
        ("http://creativecommons.org/licenses/by-nd/2.0/", False),
        ("http://flickr.com/commons/usage/", True),
        ("http://www.usa.gov/copyright.shtml", True),
        ("https://creativecommons.org/publicdomain/zero/1.0/", True),
        ("https://evil.example/?creativecommons.org/licenses/by/2.0/", False),
        ("", False),
    ],
)
def test_the_address_of_a_licence_tells_whether_it_is_commercial(url, allowed):
    """The first eight are COCO's own."""
    verdicts = choose([make_row(key=make_key(1))], {1: License(id=1, name="x", url=url)}, commercial=True)
    assert list(verdicts.values()) == [ACCEPTED if allowed else rejected("license_not_allowed")]


def test_an_undescribed_licence_is_not_commercial():
    assert choose([make_row(key=make_key(1))], {}, commercial=True)[make_key(1)] == rejected("license_not_allowed")


# Against the annotations' instances


def check_of(iou, supercategory="animal"):
    return CrossCheck(instance_iou=iou, categories=(), supercategory=supercategory)


def test_a_bound_on_the_agreement_with_instances_rejects_low_and_unknown_agreement():
    rows = rows_with("area", [0.2, 0.2, 0.2])
    verdicts = choose(rows, checks=[check_of(0.5), check_of(0.4), UNCHECKED], thresholds=("instance_iou>=0.5",))
    expected = [ACCEPTED, rejected("instance_iou_below_min"), rejected("instance_iou_unknown")]
    assert list(verdicts.values()) == expected


def test_that_bound_is_skipped_during_a_run():
    assert decide(make_row(), PolicyConfig(thresholds=("instance_iou>=0.5",))) == ACCEPTED


def test_images_of_unknown_agreement_come_last():
    rows = rows_with("area", [0.2, 0.2, 0.2])
    verdicts = choose(rows, checks=[UNCHECKED, check_of(0.1), check_of(0.9)], target_images=2, rank_by="instance_iou")
    assert [verdict.decision for verdict in verdicts.values()] == ["rejected", "accepted", "accepted"]


def test_an_image_without_agreement_comes_before_one_of_unknown_agreement():
    verdicts = choose(
        rows_with("area", [0.2, 0.2]), checks=[UNCHECKED, check_of(0.0)], target_images=1, rank_by="instance_iou"
    )
    assert [verdict.decision for verdict in verdicts.values()] == ["rejected", "accepted"]


# Strata

KINDS = st.lists(
    st.tuples(st.sampled_from(["animal", "vehicle", ""]), st.sampled_from([0.01, 0.2, 0.8])), min_size=1, max_size=12
)


def stratified(kinds, **policy):
    """Stratum → accepted images. Of 20,000 px, an area of .01 is small, .2 medium, .8 large."""
    rows = rows_with("area", [area for _, area in kinds])
    verdicts = choose(rows, checks=[check_of(0.5, name) for name, _ in kinds], **policy)
    return Counter(kind for kind, verdict in zip(kinds, verdicts.values(), strict=True) if verdict == ACCEPTED)


@given(KINDS, st.integers(1, 14), st.sampled_from(["even", "proportional"]))
def test_strata_fill_the_target_and_no_stratum_exceeds_its_size(kinds, target, strata):
    found = stratified(kinds, target_images=target, strata=strata)
    assert found.total() == min(target, len(kinds))
    assert found <= Counter(kinds)


@given(KINDS, st.integers(1, 14))
def test_even_strata_differ_by_one_at_most_unless_a_stratum_is_exhausted(kinds, target):
    found, there = stratified(kinds, target_images=target, strata="even"), Counter(kinds)
    for kind in there:
        if found[kind] < there[kind]:
            assert found[kind] >= max(found.values()) - 1


@given(KINDS, st.integers(1, 14))
def test_proportional_strata_have_their_share_to_within_one(kinds, target):
    found, there = stratified(kinds, target_images=target, strata="proportional"), Counter(kinds)
    for kind in there:
        assert abs(found[kind] - min(target, len(kinds)) * there[kind] / len(kinds)) < 1


def test_within_a_stratum_the_best_are_kept():
    rows = [
        make_row(key=make_key(number), scores=make_scores(stability=stability))
        for number, stability in enumerate([0.1, 0.9, 0.5, 0.3], start=1)
    ]
    checks = [check_of(0.5, name) for name in ("animal", "animal", "animal", "vehicle")]
    verdicts = choose(rows, checks=checks, target_images=2, rank_by="stability", strata="even")
    assert [int(key) for key, verdict in verdicts.items() if verdict == ACCEPTED] == [2, 4]


def test_sizes_of_objects_are_those_of_cocos_measures():
    sizes = {}
    for mask_px in (32 * 32, 32 * 32 + 1, 96 * 96, 96 * 96 + 1):
        row = make_row(scores=make_scores(area=mask_px / 20_000))
        sizes[mask_px] = considered(row, make_sample(width=200, height=100)).stratum[1]
    assert list(sizes.values()) == ["small", "medium", "medium", "large"]

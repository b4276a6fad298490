"""How far two people agree."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.audit.answers import VERDICTS
from pipeline.audit.outcomes import Pair
from pipeline.audit.proofs.agreement import agreement_of, kappa

WORDS = st.tuples(st.sampled_from(VERDICTS), st.sampled_from(VERDICTS))


def pair_of(one="right", other="right", iou=None):
    return Pair(key="1", verdicts=(one, other), iou=iou, differ=one != other)


def test_by_hand_kappa_of_ten_images():
    # Both say right on 6 and fix on 1; 7 of 10 agree. By chance: 0.8 * 0.7 + 0.2 * 0.3 = 0.62.
    pairs = [("right", "right")] * 6 + [("fix", "fix")] + [("right", "fix")] * 2 + [("fix", "right")]
    assert kappa(pairs) == pytest.approx((0.7 - 0.62) / (1 - 0.62))


@given(st.lists(WORDS, max_size=40))
def test_kappa_is_the_same_whoever_comes_first_and_1_only_if_all_agree(pairs):
    found = kappa(pairs)
    swapped = kappa([(other, one) for one, other in pairs])
    assert found == swapped
    if found is not None:
        assert -1 <= found <= 1
        assert (found == 1) == all(one == other for one, other in pairs)


@pytest.mark.parametrize("pairs", [[], [("right", "right")] * 5])
def test_kappa_is_not_defined_if_nobody_ever_says_another_word(pairs):
    assert kappa(pairs) is None


def test_shares_are_those_of_the_pairs_with_exact_intervals():
    pairs = [pair_of(iou=1.0), pair_of("right", "fix", 0.9), pair_of("fix", "fix", 0.5), pair_of("fix", "wrong_object")]
    found = agreement_of(pairs, 0.05)
    assert found.pairs == 4
    assert (found.same_verdict.found, found.same_verdict.among) == (2, 4)
    assert (found.same_mask.found, found.same_mask.among) == (2, 3)
    assert found.mean_iou == pytest.approx(0.8)
    assert (found.same_verdict.interval.lower, found.same_verdict.interval.upper) == pytest.approx(
        (0.0676, 0.9324), abs=1e-4
    )


def test_images_that_one_has_skipped_say_nothing():
    found = agreement_of([pair_of("skip", "right"), pair_of("right", "skip"), pair_of(iou=1.0)], 0.05)
    assert (found.pairs, found.same_verdict.found, found.kappa) == (1, 1, None)


def test_without_pairs_nothing_is_known():
    found = agreement_of([], 0.05)
    assert (found.pairs, found.kappa, found.mean_iou) == (0, None, None)
    assert (found.same_mask.interval.lower, found.same_mask.interval.upper) == (0, 1)

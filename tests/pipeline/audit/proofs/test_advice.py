"""The bound that labels advise: no more often wrong than it says, though the same labels choose and prove it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, hypergeom

from pipeline.audit.config import AuditConfig
from pipeline.audit.proofs.advice import (
    advise,
    badness_of,
    candidates,
    first_to_test,
    passes,
    require_possible,
    short_between,
)
from pipeline.errors import ConfigError
from pipeline.selection.policy import parse_threshold
from pipeline.selection.scores import SCORE_TABLE

VARIANCE, IOU = SCORE_TABLE["ensemble_variance"], SCORE_TABLE["pairwise_iou"]
SCORES = st.one_of(st.none(), st.floats(0, 0.25), st.sampled_from([0.0, 0.1, 0.25]))


def config_of(**options):
    return AuditConfig(**{"advise": "ensemble_variance", **options})


def release_with(share_good, images, rng, ties=False):
    """Scores, and IoUs that are good with a probability that falls with the score, from the given one downwards."""
    scores = np.sort(rng.random(images)) * 0.25
    if ties:
        scores = scores.round(2)
    good = rng.random(images) < share_good - 0.2 * (scores / 0.25) ** 4
    return scores.tolist(), np.where(good, 0.95, 0.5)


def times_wrong(repeats, drawn, config, **release):
    """How often less than the target is good within the advised bound, and how often there is one."""
    rng = np.random.default_rng(4)
    scores, ious = release_with(0.985, 800, rng, **release)
    wrong = advised = 0
    for _ in range(repeats):
        places = rng.choice(len(scores), drawn, replace=False)
        found = advise(scores, VARIANCE, {int(place): float(ious[place]) for place in places}, config)
        if found.bound:
            bound = parse_threshold(found.bound)
            kept = [iou for score, iou in zip(scores, ious, strict=True) if bound.passes({"ensemble_variance": score})]
            assert len(kept) == found.kept
            advised += 1
            wrong += np.mean(np.array(kept) >= config.advise_iou) < config.advise_share
    return wrong, advised


@pytest.mark.parametrize("ties", [False, True])
def test_advice_is_wrong_no_more_often_than_it_says(ties):
    wrong, advised = times_wrong(150, 250, config_of(confidence=0.8), ties=ties)
    assert advised > 75
    assert wrong <= binom.ppf(0.9999, 150, 0.2)


@pytest.mark.thorough
@pytest.mark.parametrize("confidence", [0.8, 0.95])
@pytest.mark.parametrize("drawn", [60, 250, 500])
@pytest.mark.parametrize("share", [0.9, 0.95])
def test_advice_is_wrong_no_more_often_than_it_says_in_2000_draws(share, drawn, confidence):
    wrong, _ = times_wrong(2000, drawn, config_of(confidence=confidence, advise_share=share))
    assert wrong <= binom.ppf(0.9999, 2000, 1 - confidence)


def test_the_simulation_notices_advice_by_the_shares_of_the_sample(monkeypatch):
    monkeypatch.setattr(
        "pipeline.audit.proofs.advice.passes", lambda kept, drawn, bad, share, alpha: drawn and bad / drawn <= 1 - share
    )
    wrong, _ = times_wrong(150, 250, config_of(confidence=0.8))
    assert wrong > binom.ppf(0.9999, 150, 0.2)


@given(st.lists(SCORES, min_size=1, max_size=80), st.sampled_from([VARIANCE, IOU]))
def test_bounds_keep_what_they_say_as_policies_read_them(values, score):
    found = candidates(badness_of(values, score), score)
    for candidate in found:
        bound = parse_threshold(candidate.bound)
        assert bound.score == score.name
        kept = [value for value in values if bound.passes({score.name: value})]
        assert len(kept) == candidate.kept
    assert [candidate.kept for candidate in found] == sorted({candidate.kept for candidate in found})
    known = sum(value is not None for value in values)
    assert [candidate.kept for candidate in found][-1:] == ([known] if known else [])


@given(st.floats(0, 1), st.floats(0, 1))
def test_a_short_number_separates_the_last_kept_from_the_first_dropped(one, other):
    if one == other:
        return
    number = float(short_between(one, other))
    assert number != other
    assert min(one, other) <= number <= max(one, other)


@pytest.mark.parametrize(
    ("last", "beyond", "short"),
    [(0.01234, 0.0151, "0.013"), (0.01234, 0.01291, "0.0124"), (0.9371, 0.9102, "0.93"), (0.5, 0.6, "0.5")],
)
def test_numbers_have_as_few_digits_as_can_be(last, beyond, short):
    assert short_between(last, beyond) == short


@given(st.lists(st.tuples(st.floats(0, 0.25), st.booleans()), min_size=5, max_size=200), st.data())
def test_a_higher_target_never_loosens_the_bound(images, data):
    values = [score for score, _ in images]
    drawn = {place: float(good) for place, (_, good) in enumerate(images) if place % 3}
    low, high = sorted((data.draw(st.floats(0.3, 1)), data.draw(st.floats(0.3, 1))))
    candidate_count = len(values)
    kept = [advise(values, VARIANCE, drawn, config_of(advise_share=share, confidence=0.8)) for share in (low, high)]
    if kept[0].first == kept[1].first:
        assert kept[1].kept <= kept[0].kept
    assert all(0 <= each.good <= each.drawn <= each.kept <= candidate_count for each in kept)


@given(st.lists(st.tuples(st.floats(0, 0.25), st.booleans()), min_size=5, max_size=200), st.integers(0, 199))
def test_one_more_good_mask_never_tightens_the_bound(images, place):
    values = [score for score, _ in images]
    drawn = {place: float(good) for place, (_, good) in enumerate(images) if place % 3}
    better = drawn | ({place: 1.0} if place in drawn else {})
    config = config_of(advise_share=0.6, confidence=0.7)
    assert advise(values, VARIANCE, better, config).kept >= advise(values, VARIANCE, drawn, config).kept


@pytest.mark.parametrize(("kept", "allowed"), [(9, 0), (20, 2), (41, 4)])
def test_a_test_passes_where_so_few_bad_masks_would_be_unlikely(kept, allowed):
    for drawn in range(kept + 1):
        bads = np.arange(drawn + 1)
        chances = hypergeom.cdf(bads, kept, allowed + 1, drawn)  # one bad mask more than a tenth
        assert [passes(kept, drawn, bad, 0.9, 0.05) for bad in bads.tolist()] == (chances < 0.05).tolist()


def test_the_search_ends_at_the_first_bound_that_fails_though_looser_ones_would_pass():
    values = [place / 4000 for place in range(1000)]
    drawn = {place: 0.0 if place < 10 else 1.0 for place in range(1000)}
    found = advise(values, VARIANCE, drawn, config_of())
    assert found.bound is None  # 10 of the first 50 are bad, and 10 of all 1,000
    assert found.first == "ensemble_variance<=0.0123"
    assert advise(values, VARIANCE, {**drawn, **dict.fromkeys(range(10), 1.0)}, config_of()).kept == 1000


def test_the_search_begins_at_the_same_bound_whatever_was_drawn_and_judged():
    rng = np.random.default_rng(0)
    values = (rng.random(1000) * 0.25).tolist()
    firsts = set()
    for _ in range(20):
        drawn = {int(place): float(rng.random()) for place in rng.choice(1000, 200, replace=False)}
        firsts.add(advise(values, VARIANCE, drawn, config_of(confidence=0.9)).first)
    assert len(firsts) == 1


def test_by_hand_a_large_sample_without_errors_keeps_everything():
    values = [place / 4000 for place in range(1000)]
    found = advise(values, VARIANCE, dict.fromkeys(range(0, 1000, 2), 1.0), config_of())
    assert (found.bound, found.kept, found.drawn, found.good) == ("ensemble_variance<=0.25", 1000, 500, 500)
    assert found.ended == "all bounds have passed"


def test_by_hand_the_bound_ends_where_the_bad_masks_begin():
    values = [place / 4000 for place in range(1000)]
    drawn = {place: 1.0 if place < 600 else 0.0 for place in range(0, 1000, 2)}
    found = advise(values, VARIANCE, drawn, config_of(advise_share=0.9))
    # Of the first 650, 50 are bad among 325 drawn with 25 bad ones; of the first 600, none is.
    assert found.kept in (600, 650)
    assert found.ended.startswith("ensemble_variance<=")


def test_there_is_no_advice_from_a_sample_that_is_too_small():
    values = [place / 4000 for place in range(1000)]
    found = advise(values, VARIANCE, {0: 1.0, 500: 1.0}, config_of())
    assert (found.bound, found.kept, found.drawn, found.good) == (None, 0, 0, 0)
    assert found.ended == "ensemble_variance<=0.25 has not passed: of 2 drawn masks within it, 0 are bad"


def test_a_score_that_no_image_has_gives_no_advice():
    found = advise([None, None], VARIANCE, {0: 1.0}, config_of())
    assert (found.bound, found.ended) == (None, "no image has the score")


def test_images_without_the_score_are_never_within_a_bound():
    values = [0.01] * 100 + [None] * 100
    found = advise(values, VARIANCE, {place: float(place < 100) for place in range(200)}, config_of())
    assert (found.kept, found.drawn, found.good) == (100, 100, 100)


def test_the_last_bound_is_the_only_one_tested_if_no_other_is_likely_to_pass():
    badness = badness_of([place / 400 for place in range(100)], VARIANCE)
    found = candidates(badness, VARIANCE)
    assert first_to_test(found, 100, 20, 0.95, 0.05) == len(found) - 1


def test_advice_with_strata_is_refused_before_the_plan():
    with pytest.raises(
        ConfigError, match=r"--advise ensemble_variance with --strata size: .* leave one of the two out"
    ):
        require_possible(config_of(strata="size"))
    require_possible(config_of())
    require_possible(AuditConfig(strata="size"))

"""The bounds on bad masks, held against full enumeration: every truth, every sample."""

from fractions import Fraction
from itertools import product
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta, hypergeom

from pipeline.audit.proofs.bounds import (
    Stratum,
    at_least_good,
    at_most,
    at_most_bad,
    at_most_bad_of_strata,
    at_most_good,
    clopper_pearson,
    clopper_pearson_interval,
)

ALPHAS = (0.5, 0.2, 0.05, 0.05 / 3)
DESIGNS = [
    ((9, 3), (4, 2)),
    ((12, 6), (12, 2)),
    ((6, 2), (5, 2), (3, 1)),
    ((10, 4), (2, 2), (5, 1)),
    ((15, 1), (3, 2)),
    ((14, 6), (3, 1), (2, 1)),
]
"""Population and drawn images of each stratum; shares of very different sizes, and one that is drawn whole."""


@st.composite
def seen(draw, most=60):
    population = draw(st.integers(1, most))
    drawn = draw(st.integers(0, population))
    return Stratum(population=population, drawn=drawn, bad=draw(st.integers(0, drawn)))


def chance_of(bad, population, bad_in_population, drawn):
    """Exactly: the probability of this many bad masks."""
    ways = comb(bad_in_population, bad) * comb(population - bad_in_population, drawn - bad)
    return Fraction(ways, comb(population, drawn))


def most_errors(population, drawn, bound):
    """The highest probability, over all truths, that a bound is below the truth."""
    bounds = [bound(Stratum(population=population, drawn=drawn, bad=bad)) for bad in range(drawn + 1)]
    return max(
        sum(chance_of(bad, population, truth, drawn) for bad in range(drawn + 1) if bounds[bad] < truth)
        for truth in range(population + 1)
    )


def most_errors_of_strata(design, bound):
    """The same for strata, whose bound is a function of the bad masks drawn of each."""
    bounds = {
        bad: bound({str(place): Stratum(population=n, drawn=k, bad=b) for place, ((n, k), b) in enumerate(seen)})
        for bad in product(*(range(drawn + 1) for _, drawn in design))
        if (seen := list(zip(design, bad, strict=True)))
    }
    chances = [
        [hypergeom.pmf(np.arange(drawn + 1), population, truth, drawn) for truth in range(population + 1)]
        for population, drawn in design
    ]
    worst = 0.0
    for truth in product(*(range(population + 1) for population, _ in design)):
        of_strata = [chances[place][count] for place, count in enumerate(truth)]
        wrong = sum(
            np.prod([of_strata[place][b] for place, b in enumerate(bad)])
            for bad, bounded in bounds.items()
            if bounded < sum(truth)
        )
        worst = max(worst, float(wrong))
    return worst


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("population", [1, 2, 7, 12])
def test_no_truth_and_no_sample_size_make_the_bound_fail_more_often_than_it_says(population, alpha):
    for drawn in range(population + 1):
        assert most_errors(population, drawn, lambda seen: at_most_bad(seen, alpha)) <= alpha


def test_the_enumeration_notices_a_bound_that_is_one_too_low():
    assert most_errors(12, 5, lambda seen: at_most_bad(seen, 0.05) - 1) > 0.05


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("design", DESIGNS, ids=str)
def test_the_bound_of_several_strata_holds_wherever_the_bad_masks_are(design, alpha):
    assert most_errors_of_strata(design, lambda seen: at_most_bad_of_strata(seen, alpha)) <= alpha + 1e-12


def test_the_enumeration_notices_strata_that_are_taken_for_one_simple_random_sample():
    def pooled(seen):
        totals = [sum(getattr(stratum, name) for stratum in seen.values()) for name in ("population", "drawn", "bad")]
        return at_most_bad(Stratum(population=totals[0], drawn=totals[1], bad=totals[2]), 0.2)

    assert most_errors_of_strata(((12, 6), (12, 2)), pooled) > 0.2


@given(seen(), st.sampled_from(ALPHAS))
def test_more_bad_masks_in_the_sample_never_make_the_promise_better(seen, alpha):
    bounds = [
        at_most_bad(Stratum(population=seen.population, drawn=seen.drawn, bad=bad), alpha)
        for bad in range(seen.drawn + 1)
    ]
    assert bounds == sorted(bounds)
    assert all(bad <= bound <= seen.population - (seen.drawn - bad) for bad, bound in enumerate(bounds))


@given(seen())
def test_more_confidence_never_makes_the_promise_better(seen):
    bounds = [at_most_bad(seen, alpha) for alpha in sorted(ALPHAS, reverse=True)]
    assert bounds == sorted(bounds)


@given(st.lists(seen(), min_size=1, max_size=4), st.sampled_from(ALPHAS))
def test_of_strata_too_what_was_seen_is_within_the_limits(found, alpha):
    strata = dict(enumerate(found))
    least, most = at_least_good(strata, alpha), at_most_good(strata, alpha)
    seen_good = sum(stratum.drawn - stratum.bad for stratum in found)
    seen_bad = sum(stratum.bad for stratum in found)
    assert 0 <= least <= most <= sum(stratum.population for stratum in found)
    assert least >= seen_good
    assert most <= sum(stratum.population for stratum in found) - seen_bad


@given(st.lists(st.tuples(st.integers(1, 30), st.integers(0, 30)), min_size=1, max_size=4), st.sampled_from(ALPHAS))
def test_a_census_is_exact(sizes, alpha):
    strata = {
        place: Stratum(population=size, drawn=size, bad=min(bad, size)) for place, (size, bad) in enumerate(sizes)
    }
    bad = sum(stratum.bad for stratum in strata.values())
    assert at_most_bad_of_strata(strata, alpha) == bad
    assert at_least_good(strata, alpha) == at_most_good(strata, alpha) == sum(size for size, _ in sizes) - bad


@given(seen(most=200), st.data())
def test_probabilities_are_those_of_exact_fractions(seen, data):
    truth = data.draw(st.integers(0, seen.population))
    exact = sum(chance_of(bad, seen.population, truth, seen.drawn) for bad in range(seen.bad + 1))
    assert at_most(seen.bad, seen.population, truth, seen.drawn) == pytest.approx(float(exact), rel=1e-9, abs=1e-300)


@given(st.integers(1, 300), st.data(), st.sampled_from(ALPHAS))
def test_in_a_large_population_the_bound_is_that_of_clopper_and_pearson(drawn, data, alpha):
    bad = data.draw(st.integers(0, drawn))
    population = 10**8
    share = at_most_bad(Stratum(population=population, drawn=drawn, bad=bad), alpha) / population
    assert share == pytest.approx(clopper_pearson(bad, drawn, alpha), abs=1e-4)


@given(st.integers(1, 300), st.data(), st.sampled_from(ALPHAS))
def test_the_limit_of_clopper_and_pearson_is_a_quantile_of_the_beta_distribution(drawn, data, alpha):
    bad = data.draw(st.integers(0, drawn - 1))
    assert clopper_pearson(bad, drawn, alpha) == pytest.approx(beta.ppf(1 - alpha, bad + 1, drawn - bad))


def test_by_hand_one_bad_of_12_drawn_of_31():
    # P(at most 1 of 12 is bad | 8 of 31 are) = [C(23,12) + 8 C(23,11)] / C(31,12) = 0.0862; with 9 it is 0.0496.
    chance = Fraction(comb(23, 12) + 8 * comb(23, 11), comb(31, 12))
    assert float(chance) == pytest.approx(0.0862, abs=5e-5)
    assert at_most_bad(Stratum(population=31, drawn=12, bad=1), 0.05) == 8
    assert at_least_good({"all": Stratum(population=31, drawn=12, bad=1)}, 0.05) == 23


def test_by_hand_no_bad_one_of_59_proves_95_percent_of_any_population():
    assert clopper_pearson(0, 59, 0.05) == pytest.approx(1 - 0.05 ** (1 / 59))
    assert clopper_pearson(0, 59, 0.05) < 0.05 < clopper_pearson(0, 58, 0.05)
    assert at_most_bad(Stratum(population=10**6, drawn=59, bad=0), 0.05) <= 50_000


def test_a_probability_of_exactly_alpha_gives_the_weaker_bound():
    # One of 20 is drawn, and is good: with 19 bad ones that has a probability of exactly 1 in 20.
    assert at_most_bad(Stratum(population=20, drawn=1, bad=0), 0.05) == 19


def test_a_million_masks_and_ten_thousand_drawn_agree_with_scipy():
    bound = at_most_bad(Stratum(population=10**6, drawn=10**4, bad=321), 0.05)
    assert hypergeom.cdf(321, 10**6, bound, 10**4) > 0.05 > hypergeom.cdf(321, 10**6, bound + 1, 10**4)


def test_a_stratum_of_which_nothing_was_drawn_leaves_all_of_it_open():
    some, none = Stratum(population=50, drawn=10, bad=1), Stratum(population=30, drawn=0, bad=0)
    assert at_most_bad_of_strata({"a": some, "b": none}, 0.05) == at_most_bad(some, 0.05) + 30
    assert at_most_bad_of_strata({"a": none, "b": none}, 0.05) == 60


def test_a_small_stratum_of_which_little_was_drawn_does_not_spoil_the_bound_of_the_others():
    others = {name: Stratum(population=1000, drawn=100, bad=2) for name in "ab"}
    scarce = {"c": Stratum(population=30, drawn=1, bad=0)}
    assert at_most_bad_of_strata(others | scarce, 0.05) == at_most_bad_of_strata(others, 0.05) + 29


def test_which_strata_are_left_out_does_not_depend_on_what_was_seen():
    for bad in ((0, 0, 0), (100, 100, 1), (0, 50, 1)):
        strata = {
            name: Stratum(population=size, drawn=drawn, bad=found)
            for (name, size, drawn), found in zip([("a", 1000, 100), ("b", 1000, 100), ("c", 30, 1)], bad, strict=True)
        }
        without = {name: strata[name] for name in "ab"}
        assert at_most_bad_of_strata(strata, 0.05) == at_most_bad_of_strata(without, 0.05) + 29 + bad[2]


def test_with_little_confidence_the_bound_of_strata_still_leaves_room_for_one_bad_mask_more():
    strata = {name: Stratum(population=100, drawn=10, bad=0) for name in "ab"}
    # Clopper and Pearson leave 3.4 % at a confidence of 50 %, less than one mask of 20; so 1 / 20 it is, of 200.
    assert clopper_pearson(0, 20, 0.5) == pytest.approx(0.034, abs=1e-3)
    assert at_most_bad_of_strata(strata, 0.5) == 10
    assert at_most_bad_of_strata(strata, 0.05) == int(200 * clopper_pearson(0, 20, 0.05))


@pytest.mark.parametrize(("population", "drawn", "bad"), [(3, 4, 0), (3, 2, 3), (3, 2, -1)])
def test_counts_that_can_not_be_are_refused(population, drawn, bad):
    with pytest.raises(ValueError, match="each is at most the next"):
        Stratum(population=population, drawn=drawn, bad=bad)


def test_both_limits_of_a_share_are_mirror_images():
    one, other = clopper_pearson_interval(3, 20, 0.05), clopper_pearson_interval(17, 20, 0.05)
    assert (one.lower, one.upper) == pytest.approx((1 - other.upper, 1 - other.lower))
    assert one.lower == pytest.approx(beta.ppf(0.025, 3, 18))
    assert (clopper_pearson_interval(0, 0, 0.05).lower, clopper_pearson_interval(0, 0, 0.05).upper) == (0, 1)

"""The interval of a mean, held against populations whose mean is known."""

from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from pipeline.audit.proofs.betting import DrawnValues, is_excluded, lower_end, mean_interval
from tests.pipeline.audit.synthetic import realistic_ious

VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=40).map(np.array)
POPULATIONS = {
    "realistic": realistic_ious(1500, np.random.default_rng(1)),
    "few errors": np.where(np.arange(1500) < 15, 0.0, 1.0),
    "halves": np.arange(1500) % 2.0,
    "spread": np.linspace(0, 1, 1500),
    "steady": np.full(1500, 0.97),
}


def drawn_of(values, population, highest=None):
    return {"all": DrawnValues(population=population, lowest=values, highest=values if highest is None else highest)}


def times_missed(values, drawn, repeats, alpha, excluded=is_excluded):
    """How often an end misses the mean: from below, and from above."""
    rng = np.random.default_rng(0)
    missed = np.zeros(2, dtype=int)
    for _ in range(repeats):
        sample = rng.choice(values, drawn, replace=False)
        missed[0] += excluded(values.mean(), sample, len(values), alpha)
        missed[1] += excluded(1 - values.mean(), 1 - sample, len(values), alpha)
    return missed


@pytest.mark.parametrize("drawn", [12, 100, 1200])
@pytest.mark.parametrize("kind", POPULATIONS)
def test_the_mean_is_missed_no_more_often_than_the_interval_says(kind, drawn):
    repeats, alpha = 200, 0.2
    assert (times_missed(POPULATIONS[kind], drawn, repeats, alpha) <= binom.ppf(0.9999, repeats, alpha)).all()


@pytest.mark.thorough
@pytest.mark.parametrize("alpha", [0.2, 0.025])
@pytest.mark.parametrize("drawn", [12, 100, 400, 1200])
@pytest.mark.parametrize("kind", POPULATIONS)
def test_the_mean_is_missed_no_more_often_than_the_interval_says_in_2000_draws(kind, drawn, alpha):
    assert (times_missed(POPULATIONS[kind], drawn, 2000, alpha) <= binom.ppf(0.9999, 2000, alpha)).all()


def test_the_simulation_notices_a_normal_approximation():
    def normal(mean, sample, population, alpha):
        return bool(mean < sample.mean() - 0.8416 * sample.std() / len(sample) ** 0.5)  # the normal quantile of 0.8

    missed = times_missed(POPULATIONS["few errors"], 100, 200, 0.2, normal)
    assert missed[0] > binom.ppf(0.9999, 200, 0.2)


@given(VALUES, st.sampled_from([0.5, 0.05, 0.001]))
def test_a_census_gives_the_mean_itself(values, alpha):
    found = mean_interval(drawn_of(values, len(values)), alpha)
    assert (found.lower, found.upper) == pytest.approx((values.mean(),) * 2, abs=1e-9)


@given(VALUES, st.integers(0, 2000), st.sampled_from([0.5, 0.05, 0.001]))
def test_an_interval_has_the_mean_of_the_sample_in_it_and_leaves_to_the_unseen_what_they_can_be(values, more, alpha):
    population = len(values) + more
    found = mean_interval(drawn_of(values, population), alpha)
    assert values.sum() / population - 1e-9 <= found.lower <= found.upper
    assert found.upper <= (values.sum() + more) / population + 1e-9


@given(VALUES, st.integers(0, 500), st.data())
def test_a_higher_value_never_lowers_an_end_whichever_it_is(values, more, data):
    """So whoever takes what is unknown for 0 below, and for 1 above, is safe."""
    place = data.draw(st.integers(0, len(values) - 1))
    higher = values.copy()
    higher[place] = data.draw(st.floats(float(values[place]), 1))
    population = len(values) + more
    assert lower_end(values, population, 0.05) <= lower_end(higher, population, 0.05) + 1e-9
    unknown = mean_interval(drawn_of(values, population, higher), 0.05)
    for known in (values, higher):
        inside = mean_interval(drawn_of(known, population), 0.05)
        assert unknown.lower <= inside.lower + 1e-9
        assert inside.upper <= unknown.upper + 1e-9


@given(VALUES, st.integers(1, 500), st.floats(0, 1), st.floats(0, 1))
def test_what_excludes_a_mean_excludes_every_lower_one(values, more, one, other):
    population = len(values) + more
    low, high = (values.sum() + share * more for share in sorted((one, other)))
    if is_excluded(high / population, values, population, 0.05):
        assert is_excluded(low / population, values, population, 0.05)


@given(VALUES, st.integers(1, 500))
def test_the_end_is_where_means_begin_not_to_be_excluded(values, more):
    population = len(values) + more
    end = lower_end(values, population, 0.05)
    assert not is_excluded(end + 1e-6, values, population, 0.05)
    if end > values.sum() / population + 1e-6:
        assert is_excluded(end - 1e-6, values, population, 0.05)


@given(VALUES)
def test_more_confidence_never_narrows_an_interval(values):
    found = [mean_interval(drawn_of(values, 300), alpha) for alpha in (0.5, 0.05, 0.001)]
    assert [each.lower for each in found] == sorted((each.lower for each in found), reverse=True)
    assert [each.upper for each in found] == sorted(each.upper for each in found)


def test_by_hand_two_values_of_four():
    """The bets are larger than what may be lost, so each loses 95 % of the capital times how far the value is below."""
    # Mean 0.5 of 4: before the first value the mean of the rest is 0.5, before the second (2 - 1) / 3.
    capital = (1 + 0.95 * (1 / 0.5 - 1)) * (1 + 0.95 * (1 / (1 / 3) - 1))
    values = np.array([1.0, 1.0])
    assert capital == pytest.approx(1.95 * 2.9)
    assert is_excluded(0.5, values, 4, 1 / capital + 1e-9)
    assert not is_excluded(0.5, values, 4, 1 / capital - 1e-9)


def test_both_ends_share_the_error():
    values = np.random.default_rng(8).random(30)
    found = mean_interval(drawn_of(values, 100), 0.2)
    assert found.lower == lower_end(values, 100, 0.1)
    assert found.upper == 1 - lower_end(1 - values, 100, 0.1)


STRATA = {
    "alike, in proportion": ([(900, 90), (100, 10)], [0.9, 0.9]),
    "far apart, in proportion": ([(500, 30), (500, 30)], [0.2, 0.9]),
    "far apart, out of proportion": ([(900, 40), (100, 40), (8, 1)], [0.9, 0.1, 0.5]),
    "small": ([(20, 3), (10, 2), (5, 1), (4, 4)], [0.8, 0.4, 0.9, 0.1]),
    "nearly whole": ([(60, 55), (40, 39)], [0.9, 0.6]),
}


def times_missed_of_strata(setting, repeats, alpha):
    sizes, means = STRATA[setting]
    rng = np.random.default_rng(9)
    values = [
        np.where(rng.random(size) < mean, 1 - rng.random(size) ** 3 / 5, 0)
        for (size, _), mean in zip(sizes, means, strict=True)
    ]
    truth, missed = np.concatenate(values).mean(), np.zeros(2, dtype=int)
    for _ in range(repeats):
        samples = [rng.choice(found, count, replace=False) for found, (_, count) in zip(values, sizes, strict=True)]
        drawn = {
            str(place): DrawnValues(population=size, lowest=sample, highest=sample)
            for place, (sample, (size, _)) in enumerate(zip(samples, sizes, strict=True))
        }
        found = mean_interval(drawn, 2 * alpha)
        missed += [truth < found.lower - 1e-9, truth > found.upper + 1e-9]
    return missed


@pytest.mark.parametrize("setting", STRATA)
def test_of_strata_too_the_mean_is_missed_no_more_often_than_the_interval_says(setting):
    assert (times_missed_of_strata(setting, 100, 0.2) <= binom.ppf(0.9999, 100, 0.2)).all()


@pytest.mark.thorough
@pytest.mark.parametrize("alpha", [0.2, 0.025])
@pytest.mark.parametrize("setting", STRATA)
def test_of_strata_too_the_mean_is_missed_no_more_often_than_the_interval_says_in_2000_draws(setting, alpha):
    assert (times_missed_of_strata(setting, 2000, alpha) <= binom.ppf(0.9999, 2000, alpha)).all()


def test_the_expected_capital_of_strata_is_at_most_1_in_every_draw_of_a_small_population():
    """By enumeration: the sum over all samples of two strata, whose means are far from each other."""
    strata, drawn = [np.array([0.0, 0.1, 0.9, 1.0]), np.array([0.3, 0.6, 0.2])], (2, 1)
    mean = np.concatenate(strata).mean()
    weights = [len(values) / 7 * 3 / count for values, count in zip(strata, drawn, strict=True)]
    for bet in (0.1, 0.5, 1.0):
        capitals = [
            np.prod(
                [
                    1 + bet * (x * w / max(weights) - mean / max(weights))
                    for xs, w in zip(both, weights, strict=True)
                    for x in xs
                ]
            )
            for both in product(*(combinations(values, count) for values, count in zip(strata, drawn, strict=True)))
        ]
        assert np.mean(capitals) <= 1


def test_strata_cost_little_if_they_are_drawn_in_proportion():
    values = POPULATIONS["realistic"][:400]
    one = mean_interval(drawn_of(values, 100_000), 0.05)
    four = mean_interval(
        {str(k): DrawnValues(population=25_000, lowest=values[k::4], highest=values[k::4]) for k in range(4)}, 0.05
    )
    assert four.upper - four.lower < 1.1 * (one.upper - one.lower)


def test_of_a_stratum_of_which_nothing_was_drawn_nothing_is_known():
    none, whole = np.array([]), np.full(10, 0.5)
    drawn = {
        "a": DrawnValues(population=10, lowest=whole, highest=whole),
        "b": DrawnValues(population=30, lowest=none, highest=none),
    }
    found = mean_interval(drawn, 0.05)
    assert (found.lower, found.upper) == pytest.approx((5 / 40, 35 / 40))


def test_strata_that_were_drawn_whole_are_known_and_the_others_bounded():
    rng = np.random.default_rng(8)
    values = {"whole": rng.random(40), "part": rng.random(30)}
    drawn = {
        name: DrawnValues(population=size, lowest=values[name], highest=values[name])
        for name, size in (("whole", 40), ("part", 60))
    }
    lower = (values["whole"].sum() + 60 * lower_end(values["part"], 60, 0.025)) / 100
    assert mean_interval(drawn, 0.05).lower == pytest.approx(lower)


def test_strata_are_weighted_by_their_sizes():
    values = {"a": np.full(30, 1.0), "b": np.full(10, 0.2)}
    drawn = {
        name: DrawnValues(population=size, lowest=values[name], highest=values[name])
        for name, size in (("a", 30), ("b", 10))
    }
    found = mean_interval(drawn, 0.05)
    assert (found.lower, found.upper) == pytest.approx((0.8, 0.8))


def test_on_realistic_ious_it_is_far_narrower_than_hoeffding_s():
    values = POPULATIONS["realistic"][:400]
    found = mean_interval(drawn_of(values, 100_000), 0.05)
    assert found.upper - found.lower < 0.5 * 2 * (np.log(2 / 0.05) / 2 / 400) ** 0.5


def test_nothing_drawn_leaves_everything_open():
    assert lower_end(np.array([]), 10, 0.05) == 0


@pytest.mark.parametrize("values", [[1.1], [-0.1], [float("nan")], [0.5] * 4])
def test_values_that_can_not_be_are_refused(values):
    with pytest.raises(ValueError, match="must be from 0 to 1"):
        lower_end(np.array(values), 3, 0.05)

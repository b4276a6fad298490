"""The draw: a function of the digest that anybody can repeat, and as even as it says."""

import itertools
import subprocess
from collections import Counter
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.audit.draw import allocation, drawn, raters_of, shuffled

keys_of = st.integers(1, 60).map(lambda count: [f"{number:012d}" for number in range(count)])
seeds = st.text("0123456789abcdef", min_size=1, max_size=8).map(lambda digest: f"{digest}:")
strata_sizes = st.dictionaries(st.sampled_from("abcdefgh"), st.integers(1, 300), min_size=1)


def with_strata(sizes):
    """Key → stratum, of strata of these sizes."""
    names = [stratum for stratum, size in sizes.items() for _ in range(size)]
    return {f"{number:012d}": name for number, name in enumerate(names)}


@given(keys_of, seeds, st.data())
def test_a_sample_does_not_depend_on_the_order_of_the_keys_and_begins_every_larger_one(keys, seed, data):
    mixed = data.draw(st.permutations(keys))
    larger = drawn(dict.fromkeys(keys, "all"), len(keys), seed)
    for images in (1, len(keys) // 2, len(keys) - 1):
        assert drawn(dict.fromkeys(mixed, "all"), images, seed) == larger[: max(1, images)]


def test_the_order_is_the_one_that_sha256sum_gives():
    keys = [f"{number:012d}" for number in range(20)]
    seed = "ab12:closing figures of 1 May"
    sums = {}
    for key in keys:
        done = subprocess.run(["sha256sum"], input=f"{seed}:{key}".encode(), capture_output=True, check=True)
        sums[done.stdout.split()[0].decode()] = key
    by_hand = [key for _, key in sorted(sums.items())]
    assert shuffled(keys, seed) == by_hand
    assert drawn(dict.fromkeys(keys, "all"), 7, seed) == by_hand[:7]


def test_another_digest_or_beacon_gives_another_sample():
    strata = dict.fromkeys((f"{number:012d}" for number in range(1000)), "all")
    samples = [set(drawn(strata, 100, seed)) for seed in ("a:", "b:", "a:1", "a:2")]
    for one, other in itertools.combinations(samples, 2):
        assert len(one & other) < 30  # 10 are expected; 30 are out by seven standard deviations


def test_every_image_is_drawn_as_often_as_any_other():
    strata = dict.fromkeys("abcdefghij", "all")
    found = Counter(key for seed in range(4000) for key in drawn(strata, 3, f"{seed}:"))
    # Each count is binomial with mean 1200 and standard deviation 29.
    assert all(1060 < found[key] < 1340 for key in strata)


@given(strata_sizes, st.integers(1, 2000))
def test_shares_add_up_and_every_stratum_is_there(sizes, images):
    shares = allocation(sizes, images)
    assert shares.keys() == sizes.keys()
    assert all(1 <= shares[stratum] <= size for stratum, size in sizes.items())
    assert sum(shares.values()) == max(min(images, sum(sizes.values())), len(sizes))


@given(strata_sizes, st.integers(1, 2000))
def test_shares_are_within_one_of_the_exact_ones_where_none_is_raised_to_one(sizes, images):
    population = sum(sizes.values())
    exact = {stratum: Fraction(min(images, population) * size, population) for stratum, size in sizes.items()}
    if min(exact.values()) < 1:
        return
    shares = allocation(sizes, images)
    assert all(abs(shares[stratum] - exact[stratum]) < 1 for stratum in sizes)


def test_what_is_left_goes_to_the_largest_remainders():
    assert allocation({"a": 56, "b": 24, "c": 20}, 10) == {"a": 6, "b": 2, "c": 2}
    assert allocation({"a": 54, "b": 26, "c": 20}, 10) == {"a": 5, "b": 3, "c": 2}


def test_small_strata_get_their_one_from_the_largest():
    assert allocation({"a": 1000, "b": 1, "c": 1, "d": 1}, 5) == {"a": 2, "b": 1, "c": 1, "d": 1}
    assert allocation({"a": 1000, "b": 1, "c": 1, "d": 1}, 2) == {"a": 1, "b": 1, "c": 1, "d": 1}


@given(strata_sizes, st.integers(1, 400), seeds)
def test_a_stratum_gives_the_beginning_of_its_own_order(sizes, images, seed):
    strata = with_strata(sizes)
    sample = drawn(strata, images, seed)
    shares = allocation(sizes, images)
    assert sample == shuffled(sample, seed)
    for stratum in sizes:
        members = [key for key in shuffled(strata, seed) if strata[key] == stratum]
        assert [key for key in sample if strata[key] == stratum] == members[: shares[stratum]]


@given(keys_of, st.integers(1, 6), st.floats(0, 1), seeds)
def test_raters_have_equal_shares_and_never_judge_an_image_twice(keys, raters, overlap, seed):
    names = [f"rater-{number}" for number in range(raters)]
    found = raters_of(keys, names, overlap, seed)
    assert found.keys() == set(keys)
    assert all(len(set(pair)) == len(pair) for pair in found.values())
    assert sum(len(pair) == 2 for pair in found.values()) == (round(overlap * len(keys)) if raters > 1 else 0)
    tasks = Counter(name for pair in found.values() for name in pair)
    assert max(tasks[name] for name in names) - min(tasks[name] for name in names) <= 2


@pytest.mark.parametrize("raters", [2, 3, 4, 5, 7])
def test_all_raters_meet(raters):
    names = [f"rater-{number}" for number in range(raters)]
    keys = [f"{number:012d}" for number in range(raters * (raters - 1))]
    met = {frozenset(pair) for pair in raters_of(keys, names, 1, "seed").values()}
    assert met == {frozenset(pair) for pair in itertools.combinations(names, 2)}


def test_who_judges_an_image_does_not_follow_from_its_place_in_the_sample():
    keys = [f"{number:012d}" for number in range(400)]
    found = raters_of(keys, ["one", "other"], 0.25, "seed")
    twice = [place for place, key in enumerate(keys) if len(found[key]) == 2]
    assert len(twice) == 100
    assert 160 < sum(twice) / len(twice) < 240  # their mean place is 199.5, give or take 10

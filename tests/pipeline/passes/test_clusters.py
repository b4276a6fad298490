"""Modes of ensemble members: a partition nobody can better, a silhouette as defined, a rule that orders can't sway."""

from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from pipeline.passes import clusters
from pipeline.passes.agreement import iou
from pipeline.passes.clusters import (
    LEAST_OF_A_MODE,
    LEAST_SILHOUETTE,
    MOST_IOU,
    MOST_MEMBERS,
    find_modes,
    iou_distances,
    partition,
    silhouette,
)

MASKS = st.tuples(st.integers(1, 7), st.integers(1, 4), st.integers(1, 4)).flatmap(
    lambda shape: arrays.arrays(np.bool_, shape)
)


def disc(row, column, radius=6, side=32):
    rows, columns = np.ogrid[:side, :side]
    return np.hypot(rows - row, columns - column) <= radius


def noisy(mask, rng, share=0.02):
    return mask ^ (rng.random(mask.shape) < share)


LEFT, RIGHT, TOP = disc(16, 8), disc(16, 24), disc(5, 16, 4)


def members(*counts, seed=0):
    """So many noisy members of each of the three discs."""
    rng = np.random.default_rng(seed)
    pairs = zip(counts, (LEFT, RIGHT, TOP), strict=False)
    return np.stack([noisy(mask, rng) for count, mask in pairs for _ in range(count)])


# Properties


@given(MASKS)
def test_distances_are_one_minus_iou(masks):
    found = iou_distances(masks)
    for one, other in product(range(len(masks)), repeat=2):
        assert found[one, other] == pytest.approx(1 - iou(masks[one], masks[other]))


@given(MASKS, st.integers(2, 3))
def test_no_other_medoids_are_closer_to_the_members(masks, count):
    assume(len(masks) >= count)
    distances = iou_distances(masks)
    labels = partition(distances, count)
    assert set(labels) == set(range(count))

    def cost(medoids):
        return distances[:, medoids].min(axis=1).sum()

    groups = [np.flatnonzero(labels == group) for group in range(count)]
    own = sum(min(distances[np.ix_(group, [medoid])].sum() for medoid in group) for group in groups)
    assert own <= min(cost(list(some)) for some in combinations(range(len(masks)), count)) + 1e-9


@given(MASKS, st.integers(2, 3), st.integers(1, 4))
def test_medoids_are_the_same_however_many_sets_are_tried_at_once(masks, count, at_once):
    assume(len(masks) >= count)
    distances = iou_distances(masks)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clusters, "_SETS_AT_ONCE", at_once)
        found = partition(distances, count)
    assert np.array_equal(found, partition(distances, count))


@settings(max_examples=30)
@given(st.integers(3, 7).flatmap(lambda count: arrays.arrays(np.bool_, (count, 3, 3))), st.data())
def test_the_silhouette_is_that_of_scikit_learn(masks, data):
    distances = iou_distances(masks)
    labels = np.array(data.draw(st.permutations([0, 1, *data.draw(st.lists(st.integers(0, 1), min_size=len(masks) - 2,
                                                                            max_size=len(masks) - 2))])))  # fmt: skip
    expected = pytest.importorskip("sklearn.metrics").silhouette_score(distances.clip(0), labels, metric="precomputed")
    assert silhouette(distances, labels) == pytest.approx(expected, abs=1e-9)


@settings(max_examples=40)
@given(MASKS)
def test_modes_are_a_partition_in_order_of_size_that_keeps_the_rule(masks):
    found = find_modes(masks)
    assert sorted(number for mode in found.members for number in mode) == list(range(len(masks)))
    sizes = [len(mode) for mode in found.members]
    assert sizes == sorted(sizes, reverse=True)
    for mode, mask in zip(found.members, found.masks, strict=True):
        assert np.array_equal(mask, masks[list(mode)].mean(axis=0) >= 0.5)
    if len(sizes) > 1:
        assert found.silhouette >= LEAST_SILHOUETTE
        assert min(sizes) >= LEAST_OF_A_MODE
        assert all(iou(one, other) <= MOST_IOU for one, other in combinations(found.masks, 2))
    assert (found.silhouette is None) == (len(masks) < 3)


@settings(max_examples=20)
@given(st.tuples(st.integers(2, 5), st.integers(2, 5)), st.integers(0, 99), st.randoms(use_true_random=False))
def test_the_order_of_the_members_makes_no_difference(counts, seed, random):
    masks = members(*counts, seed=seed)
    order = random.sample(range(len(masks)), len(masks))
    found, shuffled = find_modes(masks), find_modes(masks[order])
    assert {frozenset(mode) for mode in found.members} == {
        frozenset(order[number] for number in mode) for mode in shuffled.members
    }
    assert shuffled.silhouette == pytest.approx(found.silhouette)


@settings(max_examples=20)
@given(st.lists(st.integers(2, 6), min_size=1, max_size=3), st.integers(0, 99))
def test_planted_modes_are_found(counts, seed):
    found = find_modes(members(*counts, seed=seed))
    assert [len(mode) for mode in found.members] == sorted(counts, reverse=True)


# Examples


@pytest.mark.parametrize("count", [1, 2, 3, 10])
def test_members_that_are_equal_have_one_mode(count):
    found = find_modes(np.stack([LEFT] * count))
    assert found.members == (tuple(range(count)),)
    assert np.array_equal(found.masks, LEFT[None])
    assert found.silhouette in (None, 0)


def test_members_that_see_nothing_agree():
    assert len(find_modes(np.zeros((6, 4, 4), dtype=bool)).members) == 1
    assert len(find_modes(np.stack([LEFT] * 3 + [LEFT & False] * 3)).members) == 2


def test_outlines_in_two_clear_groups_are_no_ambiguity():
    masks = np.stack([disc(16, 16, 10)] * 3 + [disc(16, 16, 11)] * 3)
    found = find_modes(masks)
    assert (len(found.members), found.silhouette) == (1, 1)


def test_a_single_member_that_sees_something_else_is_no_mode():
    assert len(find_modes(members(5, 1)).members) == 1
    assert [len(mode) for mode in find_modes(members(5, 2)).members] == [5, 2]


def test_of_two_modes_with_as_many_members_the_one_closer_to_the_mask_of_all_comes_first():
    whole, part = disc(16, 16, 10), disc(16, 16, 10) & (np.arange(32) < 12)
    masks = np.stack([part, part, whole, whole])  # at least half of all: the whole
    assert find_modes(masks).members == ((2, 3), (0, 1))


def test_three_modes_of_twenty_members_and_of_sixty():
    assert [len(mode) for mode in find_modes(members(9, 6, 5)).members] == [9, 6, 5]
    masks = np.concatenate([members(9, 6, 5)] * 3)[:, ::4, ::4]
    assert len(masks) < MOST_MEMBERS
    assert len(find_modes(masks).members) == 3

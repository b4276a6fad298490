"""The nearest earlier vectors, compared with a search in whole numbers, one pair after the other."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.passes.duplicates import nearest as nearest_module
from pipeline.passes.duplicates.nearest import Vectors, nearest

ODD = 2


def made(seed, count, alike):
    """Small whole numbers, so that many vectors are equal, or equally near; the last two entries are odd."""
    draw = np.random.default_rng(seed)
    vectors = draw.integers(-2, 3, (count, 5)).astype(np.int16)
    vectors[:, 0] = 3
    vectors[draw.random(count) < alike] = vectors[0]
    return vectors


def searched(queries, others, limit, most, first=None):
    """Places and squared cosines, by definition."""
    found = []
    for row, one in enumerate(queries.astype(int)):
        near = []
        for place, other in enumerate(others.astype(int)):
            if first is not None and place >= first + row:
                continue
            even, odd = int(one[:-ODD] @ other[:-ODD]), abs(int(one[-ODD:] @ other[-ODD:]))
            square = Fraction((even + odd) ** 2, int(one @ one) * int(other @ other))
            if even + odd > 0 and square >= Fraction(limit) ** 2:
                near.append((-square, place))
        found.append(sorted(near)[:most])
    return found


@given(
    st.integers(0, 2**32 - 1), st.integers(1, 40), st.sampled_from([0.0, 0.5, 1.0]), st.integers(1, 6),
    st.sampled_from([0.25, 0.5, 0.75, 1.0]), st.integers(1, 11),
)  # fmt: skip
def test_it_finds_what_a_search_of_all_pairs_finds(seed, count, alike, most, limit, columns):
    vectors = made(seed, count, alike)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nearest_module, "_COLUMNS", columns)
        start = seed % count
        everyone = Vectors.of(vectors, ODD)
        found = nearest(everyone.part(start, count), everyone, limit, most, earlier_than=start)
    for near, wanted in zip(found, searched(vectors[start:], vectors, limit, most, start), strict=True):
        assert near.places.tolist() == [place for _, place in wanted]
        assert near.cosines**2 == pytest.approx([float(-square) for square, _ in wanted])


@given(st.integers(0, 2**32 - 1), st.integers(2, 30))
def test_images_that_come_later_change_nothing(seed, count):
    vectors = made(seed, count, 0.3)
    before, after = Vectors.of(vectors[: count // 2], ODD), Vectors.of(vectors, ODD)
    found = nearest(before, before, 0.5, 4, earlier_than=0)
    again = nearest(after, after, 0.5, 4, earlier_than=0)
    for one, other in zip(found, again, strict=False):
        assert (one.places.tolist(), one.cosines.tolist()) == (other.places.tolist(), other.cosines.tolist())


def test_a_mirrored_image_is_as_near_as_the_image_itself():
    vectors = np.array([[3, 1, 0, 2, -5], [3, 1, 0, -2, 5], [3, 1, 0, 2, 5]], np.int16)
    (near,) = nearest(Vectors.of(vectors[:1], ODD), Vectors.of(vectors[1:], ODD), 0.5, 5)
    assert near.places.tolist() == [0, 1]
    assert near.cosines[0] == pytest.approx(1)
    assert near.cosines[1] < 0.9


def test_of_many_equal_vectors_the_earliest_are_told():
    everyone = Vectors.of(np.tile(np.array([[3, 0, 0, 1, 1]], np.int16), (50, 1)), ODD)
    found = nearest(everyone, everyone, 0.9, 4, earlier_than=0)
    assert [near.places.tolist() for near in found] == [list(range(min(place, 4))) for place in range(50)]

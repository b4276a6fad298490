"""Vectors as whole numbers: their products are exact in float32, in whatever order they are summed."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.passes.duplicates.vectors import LARGEST_NORM, stacked, unit, whole_numbers

LENGTHS = st.integers(1, 300)
SEEDS = st.integers(0, 2**32 - 1)


def drawn(seed, length, spread=1.0):
    draw = np.random.default_rng(seed)
    return draw.standard_normal(length) * np.exp(spread * draw.standard_normal(length))


@given(SEEDS, LENGTHS, st.floats(0, 8))
def test_no_vector_is_longer_than_float32_can_multiply_exactly(seed, length, spread):
    stored = whole_numbers(drawn(seed, length, spread)).astype(np.int64)
    assert int(stored @ stored) <= LARGEST_NORM**2 == 2**24


@given(SEEDS, LENGTHS)
def test_products_in_float32_are_exact_in_every_order(seed, length):
    ones, others = (np.stack([whole_numbers(drawn(seed + n + m, length)) for n in range(3)]) for m in (0, 9))
    exact = ones.astype(np.int64) @ others.astype(np.int64).T
    order = np.random.default_rng(seed).permutation(length)
    for columns in (np.arange(length), order):
        found = ones[:, columns].astype(np.float32) @ others[:, columns].astype(np.float32).T
        assert (found == exact).all()


@given(SEEDS, LENGTHS)
def test_rounding_hardly_changes_a_cosine(seed, length):
    one, other = drawn(seed, length), drawn(seed + 1, length)
    stored = [whole_numbers(vector).astype(float) for vector in (one, other)]
    assert unit(stored[0]) @ unit(stored[1]) == pytest.approx(unit(one) @ unit(other), abs=math.sqrt(length) / 4000)


@pytest.mark.parametrize("vector", [np.zeros(3), np.array([1.0, math.nan]), np.array([math.inf, 0]), np.zeros(0)])
def test_what_has_no_direction_is_refused(vector):
    with pytest.raises(ValueError, match="must be finite and above 0"):
        whole_numbers(vector)


def test_a_vector_too_long_for_whole_numbers_is_refused():
    with pytest.raises(ValueError, match="too long"):
        whole_numbers(np.ones(LARGEST_NORM**2 + 1))


def test_columns_hold_two_bytes_each_the_lower_one_first():
    stored = whole_numbers(np.array([3.0, -4.0]))
    assert stacked([stored.tobytes()] * 2, 2).tolist() == [stored.tolist()] * 2
    assert stacked([b"\x01\x00\xff\xff"], 2).tolist() == [[1, -1]]
    assert stacked([], 5).shape == (0, 5)

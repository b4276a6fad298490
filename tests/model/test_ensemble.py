"""Properties, examples and faults of reducing members to a mean and a variance."""

import jaxtyping
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from model.ensemble import reduce_members
from model.prediction import ModelOutputError

ULP = 1.2e-7  # of float32 below 1

values = st.floats(0, 1, width=32)
members_of_an_image = arrays.arrays(
    np.float32, st.tuples(st.integers(2, 12), st.integers(1, 5), st.integers(1, 5)), elements=values
)
property_of_members = settings(deadline=None, max_examples=200)


def reduced(members):
    ensemble = reduce_members(torch.from_numpy(np.array(members)))
    return ensemble.saliency.numpy(), ensemble.variance.numpy()


# Properties


@property_of_members
@given(members_of_an_image, st.randoms(use_true_random=False))
def test_the_order_of_members_is_irrelevant(members, random):
    order = list(range(len(members)))
    random.shuffle(order)
    for shuffled, in_order in zip(reduced(members[order]), reduced(members), strict=True):
        np.testing.assert_allclose(shuffled, in_order, rtol=0, atol=4 * ULP)


@property_of_members
@given(arrays.arrays(np.float32, (3, 4), elements=values), st.integers(2, 12))
def test_equal_members_have_no_variance_and_are_their_mean(member, count):
    saliency, variance = reduced([member] * count)
    np.testing.assert_allclose(saliency, member, rtol=0, atol=4 * ULP)
    assert variance.max() <= (4 * ULP) ** 2


@property_of_members
@given(members_of_an_image)
def test_variance_lies_from_0_to_a_quarter_and_the_mean_between_the_extremes(members):
    saliency, variance = reduced(members)
    assert variance.min() >= 0
    assert variance.max() <= 0.25
    assert (saliency >= members.min(0) - 4 * ULP).all()
    assert (saliency <= members.max(0) + 4 * ULP).all()
    assert saliency.min() >= 0
    assert saliency.max() <= 1


@property_of_members
@given(members_of_an_image)
def test_mean_and_variance_are_numpys_in_double_precision(members):
    saliency, variance = reduced(members)
    np.testing.assert_allclose(saliency, members.mean(0, dtype=np.float64), rtol=0, atol=8 * ULP)
    np.testing.assert_allclose(variance, members.var(0, dtype=np.float64), rtol=0, atol=8 * ULP)


@property_of_members
@given(members_of_an_image)
def test_the_members_stay_as_they_are(members):
    given_members = torch.from_numpy(members.copy())
    reduce_members(given_members)
    assert np.array_equal(given_members.numpy(), members)


# Examples


@pytest.mark.parametrize("count", [2, 4, 10])
def test_members_split_between_0_and_1_reach_the_bound_whatever_their_number(count):
    _, variance = reduced(np.arange(count, dtype=np.float32).reshape(count, 1, 1) % 2)
    assert variance.item() == 0.25


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_members_in_half_precision_are_reduced_in_single(dtype):
    members = torch.tensor([0.0, 0.25, 0.5]).view(3, 1, 1).to(dtype)
    ensemble = reduce_members(members)
    assert ensemble.saliency.dtype == ensemble.variance.dtype == torch.float32
    assert ensemble.saliency.item() == 0.25
    assert ensemble.variance.item() == pytest.approx(0.125 / 3, abs=ULP)


def test_the_closed_bounds_0_and_1_belong_to_the_range():
    saliency, _ = reduced(np.stack([np.zeros((2, 2), np.float32), np.ones((2, 2), np.float32)]))
    assert (saliency == 0.5).all()


# Faults


@pytest.mark.parametrize(
    "wrong", [np.nan, np.inf, -np.inf, -1e-7, float(np.nextafter(np.float32(1), np.float32(2))), 255]
)
@pytest.mark.parametrize("place", [(0, 0, 0), (2, 1, 3)])
def test_one_value_that_is_no_saliency_is_refused(wrong, place):
    members = np.full((3, 2, 4), 0.5, np.float32)
    members[place] = wrong
    with pytest.raises(ModelOutputError, match=r"saliency maps lie in \[0, 1\]"):
        reduced(members)


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_members_have_no_variance(count):
    with pytest.raises(ModelOutputError, match=f"^{count} ensemble member"):
        reduced(np.zeros((count, 2, 2), np.float32))


def test_shapes_in_signatures_are_checked_while_testing():
    with pytest.raises(jaxtyping.TypeCheckError):
        reduce_members(torch.zeros(2, 3))

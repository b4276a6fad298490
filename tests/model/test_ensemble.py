"""Properties, examples and faults of reducing members to a map, its variance and its uncertainty."""

import jaxtyping
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from safetensors.torch import load_file

from model.alignment import FLAT, align
from model.ensemble import reduce_aligned, reduce_members
from model.prediction import ModelOutputError
from tests.golden.branch import GOLDEN

ULP = 1.2e-7  # of float32 below 1

values = st.floats(0, 1, width=32)
members_of_an_image = arrays.arrays(
    np.float32, st.tuples(st.integers(1, 12), st.integers(1, 5), st.integers(1, 5)), elements=values
)
ways = st.fixed_dictionaries(
    {
        "reduction": st.sampled_from(["mean", "median"]),
        "alignment": st.sampled_from(["none", "affine", "reference"]),
        "stretch": st.booleans(),
    }
)
property_of_members = settings(max_examples=2 * settings().max_examples)


def reduced(members):
    ensemble = reduce_members(torch.from_numpy(np.array(members)))
    return ensemble.saliency.numpy(), ensemble.variance.numpy()


def maps(members, **way):
    """Saliency, variance and uncertainty, in double precision."""
    ensemble = reduce_members(torch.from_numpy(np.array(members, np.float32)), **way)
    return [part.double().numpy() for part in (ensemble.saliency, ensemble.variance, ensemble.uncertainty)]


def lower_median(values):
    return np.sort(values, 0)[(len(values) - 1) // 2]


# Properties


@property_of_members
@given(members_of_an_image, st.randoms(use_true_random=False))
def test_the_order_of_members_is_irrelevant(members, random):
    order = list(range(len(members)))
    random.shuffle(order)
    for shuffled, in_order in zip(reduced(members[order]), reduced(members), strict=True):
        np.testing.assert_allclose(shuffled, in_order, rtol=0, atol=4 * ULP)


@property_of_members
@given(arrays.arrays(np.float32, (3, 4), elements=values), st.integers(1, 12))
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
def test_without_options_results_have_the_bits_of_a_plain_mean_and_variance(members):
    members = torch.from_numpy(members.copy())
    ensemble = reduce_members(members)
    mean = members.mean(0).clamp(0, 1)
    assert torch.equal(ensemble.saliency, mean)
    assert torch.equal(ensemble.variance, torch.square(members - mean).mean(0).clamp(0, 0.25))


@property_of_members
@given(members_of_an_image)
def test_the_uncertainty_of_a_mean_is_the_root_of_the_variance(members):
    _, variance, uncertainty = maps(members)
    np.testing.assert_allclose(uncertainty, np.sqrt(variance), rtol=1e-6)


@property_of_members
@given(members_of_an_image)
def test_a_median_and_its_uncertainty_are_lower_medians_and_its_variance_is_about_the_mean(members):
    saliency, variance, uncertainty = maps(members, reduction="median")
    assert np.array_equal(saliency, lower_median(members))
    np.testing.assert_allclose(uncertainty, lower_median(np.abs(members - saliency)), rtol=0, atol=ULP)
    np.testing.assert_allclose(variance, members.var(0, dtype=np.float64), rtol=0, atol=8 * ULP)


@property_of_members
@given(members_of_an_image, ways)
def test_all_maps_lie_in_their_ranges_whatever_the_way(members, way):
    for part, bound in zip(maps(members, **way), (1, 0.25, 0.5), strict=True):
        assert part.min() >= 0
        assert part.max() <= bound


@property_of_members
@given(members_of_an_image, st.sampled_from(["mean", "median"]))
def test_a_stretched_map_spans_0_to_1_and_its_distances_grow_with_it(members, reduction):
    saliency, variance, uncertainty = maps(members, reduction=reduction)
    stretched = maps(members, reduction=reduction, stretch=True)
    low, span = saliency.min(), np.ptp(saliency)
    if span <= FLAT:
        low, span = 0, 1
    expected = ((saliency - low) / span, variance / span**2, uncertainty / span)
    for part, stretched_part, bound in zip(stretched, expected, (1, 0.25, 0.5), strict=True):
        np.testing.assert_allclose(part, stretched_part.clip(0, bound), rtol=1e-5, atol=2 * ULP / span)


@property_of_members
@given(members_of_an_image, ways)
def test_the_members_stay_as_they_are(members, way):
    given_members = torch.from_numpy(members.copy())
    reduce_members(given_members, **way)
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


@pytest.mark.parametrize("reduction", ["mean", "median"])
@pytest.mark.parametrize("alignment", ["none", "affine", "reference"])
@pytest.mark.parametrize("stretch", [False, True])
def test_one_member_is_its_own_map_and_certain(reduction, alignment, stretch):
    member = np.array([[[0.25, 0.375], [0.5, 0.75]]])
    saliency, variance, uncertainty = maps(member, reduction=reduction, alignment=alignment, stretch=stretch)
    as_it_is = alignment == "none" and not stretch
    np.testing.assert_allclose(saliency, member[0] if as_it_is else (member[0] - 0.25) / 0.5, rtol=0, atol=ULP)
    assert variance.max() == uncertainty.max() == 0


@pytest.mark.parametrize("reduction", ["mean", "median"])
@pytest.mark.parametrize("alignment", ["affine", "reference"])
def test_variance_and_uncertainty_are_those_of_the_aligned_members(alignment, reduction):
    base = np.random.default_rng(0).random((6, 6))
    members = np.array([0.2 + 0.5 * base, 0.1 + 0.8 * base, base])
    saliency, variance, uncertainty = maps(members, reduction=reduction, alignment=alignment)
    np.testing.assert_allclose(saliency, (base - base.min()) / np.ptp(base), rtol=0, atol=1e-5)
    assert variance.max() < 1e-10
    assert uncertainty.max() < 1e-5
    _, variance, uncertainty = maps(members, reduction=reduction)
    assert variance.max() > 1e-3
    assert uncertainty.max() > 0.05


@pytest.mark.parametrize("reduction", ["mean", "median"])
@pytest.mark.parametrize("alignment", ["affine", "reference"])
def test_members_are_aligned_for_the_map_that_is_made_of_them(alignment, reduction):
    members = torch.rand(5, 6, 6, generator=torch.Generator().manual_seed(0))
    ensemble = reduce_members(members, reduction=reduction, alignment=alignment)
    expected = reduce_aligned(align(members, alignment, reduction), reduction=reduction, stretch=False)
    assert torch.equal(ensemble.saliency, expected.saliency)
    assert torch.equal(ensemble.uncertainty, expected.uncertainty)


@pytest.mark.parametrize(
    ("name", "count", "reduction"), [("median", 10, "median"), ("mean", 10, "mean"), ("median3", 3, "median")]
)
def test_map_and_uncertainty_are_the_references_on_the_golden_members(name, count, reduction):
    golden = load_file(GOLDEN / "ensemble.safetensors")
    aligned = align(golden["members"][:count], "reference", reduction)
    ensemble = reduce_aligned(aligned, reduction=reduction, stretch=True)
    # The reference's standard deviation divides by E - 1.
    factor = (count / (count - 1)) ** 0.5 if reduction == "mean" else 1
    torch.testing.assert_close(ensemble.saliency, golden[f"{name}_map"], rtol=0, atol=1e-2)
    torch.testing.assert_close(factor * ensemble.uncertainty, golden[f"{name}_uncertainty"], rtol=0, atol=1e-2)


def test_the_closed_bounds_0_and_1_belong_to_the_range():
    saliency, _ = reduced(np.stack([np.zeros((2, 2), np.float32), np.ones((2, 2), np.float32)]))
    assert (saliency == 0.5).all()


# Faults


@pytest.mark.parametrize(
    "wrong", [np.nan, np.inf, -np.inf, -1e-7, float(np.nextafter(np.float32(1), np.float32(2))), 255]
)
@pytest.mark.parametrize("place", [(0, 0, 0), (2, 1, 3)])
def test_a_single_value_outside_0_to_1_is_refused(wrong, place):
    members = np.full((3, 2, 4), 0.5, np.float32)
    members[place] = wrong
    with pytest.raises(ModelOutputError, match=r"saliency maps lie in \[0, 1\]"):
        reduced(members)


def test_no_members_are_refused():
    with pytest.raises(ModelOutputError, match=r"^0 ensemble members"):
        reduced(np.zeros((0, 2, 2), np.float32))


@pytest.mark.parametrize("alignment", ["none", "affine", "reference"])
@pytest.mark.parametrize("reduction", ["mean", "median"])
@pytest.mark.parametrize("value", [0, 0.3, 1])
def test_a_flat_map_is_not_stretched_and_rounding_in_it_not_magnified(value, reduction, alignment):
    members = np.full((3, 2, 2), value, np.float32)
    members[:, 0, 0] -= np.float32(1e-7) * (value > 0)
    saliency, variance, uncertainty = maps(members, reduction=reduction, alignment=alignment, stretch=True)
    np.testing.assert_allclose(saliency, value, rtol=0, atol=4 * ULP)
    assert variance.max() < 1e-12
    assert uncertainty.max() < 1e-6


def test_members_beyond_0_and_1_that_are_aligned_give_maps_within_their_ranges():
    ensemble = reduce_aligned(torch.tensor([-2.0, 3.0, 5.0]).view(3, 1, 1), reduction="median", stretch=False)
    assert [part.item() for part in (ensemble.saliency, ensemble.variance, ensemble.uncertainty)] == [1, 0.25, 0.5]


def test_shapes_in_signatures_are_checked_while_testing():
    with pytest.raises(jaxtyping.TypeCheckError):
        reduce_members(torch.zeros(2, 3))

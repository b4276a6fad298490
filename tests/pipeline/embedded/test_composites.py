"""Composites: a pure function of its arguments, within bounds, with the object where the mask says."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.embedded.composites import make_composite
from pipeline.embedded.material import Material

PX = 64


@given(st.integers(0, 2**31), st.integers(0, 2**31))
@settings(max_examples=15, deadline=None)
def test_the_same_arguments_give_the_same_bytes(material, seed, index):
    first, second = (make_composite(material, seed, index, PX) for _ in range(2))
    assert np.array_equal(first[0], second[0])
    assert np.array_equal(first[1], second[1])


@given(st.integers(0, 2**31), st.integers(32, 96))
@settings(max_examples=25, deadline=None)
def test_shapes_types_and_area_are_as_promised(material, index, px):
    image, mask = make_composite(material, 0, index, px)
    assert (image.shape, image.dtype) == ((px, px, 3), np.uint8)
    assert (mask.shape, mask.dtype) == ((px, px), np.uint8)
    assert 0.01 < mask.mean() / 255 < 0.9
    assert mask.max() > 128


def test_neighbouring_indices_differ(material):
    first, second = (make_composite(material, 0, index, PX)[0] for index in (0, 1))
    assert not np.array_equal(first, second)


def test_neighbouring_seeds_differ(material):
    first, second = (make_composite(material, seed, 0, PX)[0] for seed in (0, 1))
    assert not np.array_equal(first, second)


@pytest.mark.parametrize("kinds", [(), ("photo",), ("texture",), ("skyline",)])
def test_cutouts_and_any_backgrounds_are_enough(make_material, kinds):
    for index in range(12):
        assert make_composite(make_material(*kinds), 0, index, 32)[0].shape == (32, 32, 3)


def test_the_object_is_where_the_mask_says(make_group, make_disc):
    """Over many composites of a red disc, what is inside the masks is redder than what is outside."""
    material = Material(groups=(make_group("cutout", make_disc()),))
    redder = 0
    for index in range(30):
        image, mask = make_composite(material, 5, index, PX)
        redness = image[..., 0].astype(float) - image[..., 1]
        redder += redness[mask > 200].mean() > redness[mask < 20].mean()
    assert redder >= 24

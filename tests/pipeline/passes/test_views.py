"""Views of images of any size: what they show, and that maps of them are turned back exactly."""

from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from pipeline.passes.options import View
from pipeline.passes.views import colour_changes, part_in_view, seen, turned_back

VIEWS = get_args(View)
IMAGES = arrays.arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40), st.just(3)))
KEYS = st.integers(0, 10**12 - 1).map(lambda number: f"{number:012d}")


def equivariant_map(image):
    """What a model would say that looks at each pixel alone."""
    return image[:, :, 0].astype(np.float32) / 255


@given(IMAGES, st.sampled_from([view for view in VIEWS if view != "colours"]), KEYS)
def test_the_map_of_a_view_is_turned_back_to_that_of_the_images_part_in_view(image, view, key):
    back = turned_back(view, equivariant_map(seen(view, image, key)), image.shape[:2])
    assert np.array_equal(back, part_in_view(view, equivariant_map(image)))


@given(IMAGES, st.sampled_from(VIEWS), KEYS)
def test_views_are_images_again_and_leave_the_image_as_it_is(image, view, key):
    before = image.copy()
    shown = seen(view, image, key)
    assert (shown.dtype, shown.ndim, shown.shape[2]) == (np.uint8, 3, 3)
    assert shown.size
    assert shown.flags.c_contiguous
    assert np.array_equal(image, before)
    assert np.array_equal(shown, seen(view, image, key)), "a view is the same again"


@given(KEYS)
def test_colours_change_by_a_tenth_to_three_tenths_up_or_down(key):
    assert all(0.1 <= round(abs(factor - 1), 12) <= 0.3 for factor in colour_changes(key))


def test_the_amounts_follow_from_the_key_alone():
    assert colour_changes("000000000001") == pytest.approx(
        (1.1360708714631256, 0.7783924035667172, 1.1781998544656307), abs=1e-12
    )
    many = [colour_changes(f"{number:012d}") for number in range(200)]
    assert len(set(many)) == 200
    assert all(60 < sum(factors[place] > 1 for factors in many) < 140 for place in range(3))


def test_an_object_is_smaller_within_a_margin_and_larger_in_the_middle():
    image = np.zeros((60, 90, 3), np.uint8)
    image[20:40, 30:60] = 200
    covered = {view: (seen(view, image, "1")[:, :, 0] > 0).mean() for view in ("smaller", "larger")}
    whole = (image[:, :, 0] > 0).mean()
    assert covered["smaller"] == pytest.approx(whole * 9 / 16)
    assert covered["larger"] == pytest.approx(whole * 25 / 16)


def test_other_colours_are_other_pixels():
    image = np.arange(48, dtype=np.uint8).reshape(4, 4, 3) * 5
    shown = seen("colours", image, "000000000001")
    assert shown.shape == image.shape
    assert not np.array_equal(shown, image)

"""Properties of small pictures with an outline."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pipeline.files.outlines import outlined, small, small_outlined

BYTES = st.integers(0, 255)


def luma(pixels):
    return pixels.astype(float) @ (0.299, 0.587, 0.114)


def rectangle(height=96, width=128):
    mask = np.zeros((height, width), dtype=bool)
    mask[30:60, 40:80] = True
    return mask


@given(st.tuples(BYTES, BYTES, BYTES))
def test_the_outline_stands_out_from_a_photo_of_any_colour(colour):
    drawn = outlined(np.full((96, 128, 3), colour, dtype=np.uint8), rectangle())
    row = luma(drawn)[45]
    for edge in (40, 79):  # the first and the last column of the mask
        assert np.abs(np.diff(row[edge - 3 : edge + 4])).max() > 100
    assert row[[0, 60]] == pytest.approx(luma(np.array(colour)))


def test_the_outline_is_four_pixels_wide_and_runs_along_edges_of_the_picture():
    photo = np.full((96, 128, 3), 90, dtype=np.uint8)
    changed = (outlined(photo, rectangle()) != photo).any(axis=2)
    expected = np.zeros((96, 128), dtype=bool)
    expected[29:61, 39:81] = True
    expected[32:58, 42:78] = False
    assert np.array_equal(changed, expected)
    whole = (outlined(photo, np.ones((96, 128), dtype=bool)) != photo).any(axis=2)
    assert whole[[0, 0, -1, 48], [0, -1, 0, 0]].all()
    assert not whole[3:-3, 3:-3].any()


@given(st.integers(1, 300), st.integers(1, 300))
def test_a_small_picture_keeps_its_proportions(width, height):
    found = small(Image.new("L", (width, height)), 100)
    assert max(found.size) <= 100
    assert found.mode == "RGB"
    shrunk = min(1, 100 / max(width, height))
    for side, before in zip(found.size, (width, height), strict=True):
        assert abs(side - max(1, before * shrunk)) <= 1


def test_a_mask_thinner_than_a_pixel_is_outlined_all_the_same():
    mask = np.zeros((768, 1024), dtype=np.uint8)
    mask[500:502, 100:900] = 255
    photo = Image.new("RGB", (1024, 768), (90, 90, 90))
    assert np.asarray(small_outlined(photo, mask, 100)).max() > 200

"""The picture to look at: its size, its shades and its outline."""

import io

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from pipeline.photos.overlay import draw_overlay

OUTLINE_RGB = (255, 60, 120)
JPEG_ATOL = 12
"""A JPEG of quality 90 changes plain colours little, away from edges."""


def drawn(photo, saliency):
    content = draw_overlay(photo, saliency)
    with Image.open(io.BytesIO(content)) as image:
        assert (image.format, image.mode) == ("JPEG", "RGB")
        return np.asarray(image).astype(int)


def make_photo(height, width, level=200):
    return np.full((height, width, 3), level, np.uint8)


def make_saliency(height, width, value=0.0):
    return np.full((height, width), value, np.float32)


@settings(max_examples=30)
@given(st.integers(1, 80), st.integers(1, 80), st.floats(0, 1, width=32))
@example(1, 1, 1.0)
@example(2, 700, 0.5)
def test_it_has_the_photos_size_and_is_never_brighter(height, width, value):
    picture = drawn(make_photo(height, width), make_saliency(height, width, value))
    assert picture.shape == (height, width, 3)
    expected = 200 * (0.3 + 0.7 * value)  # of one value everywhere: there is no outline
    assert np.abs(picture - expected).max() <= 2


def test_the_object_is_as_bright_as_the_photo_the_rest_is_darker_and_between_is_the_outline():
    saliency = make_saliency(60, 100)
    saliency[16:40, 24:80] = 1
    picture = drawn(make_photo(60, 100), saliency)
    assert np.abs(picture[24:32, 32:72] - 200).max() < JPEG_ATOL
    assert np.abs(picture[48:, :] - 60).max() < JPEG_ATOL
    nearest_to_outline = [np.abs(picture[row, 48] - OUTLINE_RGB).sum() for row in range(60)]
    assert sorted(np.argsort(nearest_to_outline)[:2]) == [16, 39]  # inside of the object, one pixel wide


def test_the_outline_lies_at_a_saliency_of_one_half():
    ramp = np.linspace(0, 1, 101, dtype=np.float32)[None].repeat(40, 0)
    picture = drawn(make_photo(40, 101), ramp)
    assert np.argmin(np.abs(picture[20] - OUTLINE_RGB).sum(1)) in (50, 51)


def test_the_outline_is_thicker_in_a_larger_photo():
    saliency = make_saliency(8, 2000)
    saliency[:, 1000:] = 1
    picture = drawn(make_photo(8, 2000), saliency)
    near = np.abs(picture[4] - OUTLINE_RGB).sum(1) < 60
    assert near[1001:1007].all()
    assert not near[:992].any()
    assert not near[1016:].any()


def test_a_wide_photo_with_a_thick_outline_is_fast():
    # 0.1 s. A filter that looked at the whole square around each pixel would run into the tests' time limit.
    assert drawn(make_photo(40, 60_000), make_saliency(40, 60_000, 1.0)).shape == (40, 60_000, 3)

"""JPEGs that end as they should, although part of their data is gone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.collection.images import decode_rgb
from pipeline.errors import SampleError
from tests.pipeline.files.make_images import encoded

SIDE = 96
NOISE = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
END = b"\xff\xd9"


def data_of(content):
    """Where the data of the scan begin."""
    at = content.index(b"\xff\xda")
    return at + 2 + int.from_bytes(content[at + 2 : at + 4])


def problem_of(content):
    try:
        decode_rgb("x", content)
    except SampleError as error:
        return error.reason, error.detail
    return "", ""


@settings(deadline=None)
# The last of the 36 blocks of a 4:2:0 image begins at 97 %: decoders fill in what is torn within it.
@given(st.floats(0.02, 0.96), st.sampled_from(["RGB", "L", "CMYK"]), st.sampled_from([0, 1, 2]), st.booleans())
def test_data_that_end_early_before_the_end_mark_are_noticed(share, mode, subsampling, optimize):
    content = encoded("JPEG", NOISE, mode, subsampling=subsampling, optimize=optimize)
    start = data_of(content)
    cut = start + int((len(content) - 2 - start) * share)
    while content[cut - 1] == 0xFF:
        cut -= 1
    reason, detail = problem_of(content[:cut] + END)
    assert (reason, "its data end before its last pixel" in detail) == ("undecodable", True)
    assert problem_of(content) == ("", "")


@settings(deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from([0, 127, 128, 129, 255]), st.booleans())
def test_even_images_are_whole_whatever_their_grey(width, height, level, progressive):
    even = np.full((height, width, 3), level, np.uint8)
    assert problem_of(encoded("JPEG", even, progressive=progressive)) == ("", "")
    even[0, 0] = 200, 10, 30
    assert problem_of(encoded("JPEG", even, progressive=progressive)) == ("", "")


@pytest.mark.parametrize("more", [b"", b"\0" * 9, b"after the end", b"\xff\xd8\xff\xe0"])
def test_what_follows_the_end_does_not_matter(more):
    even = np.full((SIDE, SIDE, 3), 128, np.uint8)
    assert problem_of(encoded("JPEG", even) + more) == ("", "")


def test_zeros_in_place_of_data_are_noticed():
    large = np.tile(NOISE, (3, 3, 1))
    content = encoded("JPEG", large)
    middle = (data_of(content) + len(content)) // 2
    torn = content[:middle] + bytes(4096) + content[middle + 4096 :]
    reason, detail = problem_of(torn)
    assert (reason, f"from byte {middle} on, zeros stand in place of pixels" in detail) == ("undecodable", True)


def test_zeros_that_an_encoder_wrote_for_an_even_area_are_data():
    even = np.full((6000, 2000), 128, np.uint8)
    even[0, :8] = 30
    content = encoded("JPEG", even, optimize=True)
    assert bytes(2048) in content, "the codes of an even block are zeros"
    assert problem_of(content) == ("", "")


def test_a_tail_of_another_image_can_not_be_told():
    first, other = (encoded("JPEG", pixels) for pixels in (NOISE, NOISE[::-1]))
    middle = (data_of(first) + len(first)) // 2
    assert problem_of(first[:middle] + other[data_of(other) :]) == ("", "")

"""What an image looks like from afar: nearly the same for copies, told by whole numbers and bits."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pipeline.passes.duplicates.thumbnails import FREQUENCIES, HASH_DIGITS, ODD, bits_between, seen_from_afar
from pipeline.passes.duplicates.vectors import unit
from tests.pipeline.passes.photos import make_photo

NUMBERS = st.integers(0, 10**6)


@given(NUMBERS)
def test_mirroring_changes_the_sign_of_the_odd_part_alone(number):
    photo = make_photo(number)
    seen, mirrored = (seen_from_afar(np.ascontiguousarray(image)).frequencies for image in (photo, photo[:, ::-1]))
    assert len(seen) == FREQUENCIES**2
    np.testing.assert_allclose(seen[:-ODD], mirrored[:-ODD], atol=1e-6)
    np.testing.assert_allclose(seen[-ODD:], -mirrored[-ODD:], atol=1e-6)


@given(NUMBERS, st.integers(20, 300), st.integers(20, 300))
def test_a_resized_copy_is_nearly_the_same(number, width, height):
    photo = make_photo(number, 240, 160)
    copy = np.asarray(Image.fromarray(photo).resize((width, height), Image.Resampling.LANCZOS))
    one, other = seen_from_afar(photo), seen_from_afar(copy)
    assert unit(one.frequencies) @ unit(other.frequencies) > 0.99
    assert bits_between(one.hash, other.hash) <= 8


@given(NUMBERS)
def test_hashes_have_64_bits_half_of_which_differ_between_unrelated_pictures(number):
    one, other = (seen_from_afar(make_photo(number + step)) for step in (0, 1))
    assert len(one.hash) == HASH_DIGITS == 16
    assert bits_between(one.hash, one.hash) == 0
    assert 8 < bits_between(one.hash, other.hash) < 56


@given(NUMBERS, st.integers(1, 40), st.integers(1, 40))
def test_thumbnails_are_means_of_four_pixels_in_quarters_of_a_grey_level(number, width, height):
    seen = seen_from_afar(make_photo(number, width, height))
    assert (seen.thumbnail.shape, seen.thumbnail.dtype) == ((1024,), np.int16)
    assert 0 <= seen.thumbnail.min() <= seen.thumbnail.max() <= 1020


def test_blank_images_are_all_alike():
    white, grey = (seen_from_afar(np.full((9, 7, 3), level, np.uint8)).frequencies for level in (255, 90))
    assert unit(white) @ unit(grey) > 0.999

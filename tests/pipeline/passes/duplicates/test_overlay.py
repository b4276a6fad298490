"""Thumbnails laid over each other: copies agree, crops and mirrored ones too; others do not."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pipeline.passes.duplicates.overlay import SIDE_PX, similarities
from pipeline.passes.duplicates.thumbnails import seen_from_afar
from tests.pipeline.passes.photos import make_photo

NUMBERS = st.integers(0, 10**6)


def thumbnail(pixels):
    return seen_from_afar(np.ascontiguousarray(pixels)).thumbnail.reshape(SIDE_PX, SIDE_PX) / np.float32(4)


def similarity(one, other):
    return similarities(thumbnail(one), thumbnail(other)[None])[0]


@given(NUMBERS)
def test_an_image_agrees_with_itself_and_mirrored_by_one(number):
    photo = make_photo(number)
    assert similarity(photo, photo) == similarity(photo, photo[:, ::-1]) == 1


@given(NUMBERS, NUMBERS)
def test_it_does_not_matter_which_of_two_is_laid_over_the_other(one, other):
    first, second = make_photo(one), make_photo(other)
    assert similarity(first, second) == pytest.approx(similarity(second, first), abs=1e-5)


@given(NUMBERS, st.sampled_from([0.0, 0.5, 1.0]), st.sampled_from([0.0, 0.5, 1.0]), st.booleans())
def test_a_crop_to_ninety_percent_agrees_wherever_it_lies(number, top, left, is_mirrored):
    photo = make_photo(number, 200, 160)
    row, column = round(16 * top), round(20 * left)
    crop = photo[row : row + 144, column : column + 180]
    assert similarity(photo, crop[:, ::-1] if is_mirrored else crop) > 0.85


@given(NUMBERS)
def test_other_pictures_do_not(number):
    others = [make_photo(number + step) for step in (1, 2, 3)]
    found = similarities(thumbnail(make_photo(number)), np.stack([thumbnail(other) for other in others]))
    assert max(found) < 0.8
    assert min(found) >= -1


@given(NUMBERS, st.integers(0, 2**32 - 1))
def test_light_and_contrast_hardly_matter(number, seed):
    photo = make_photo(number).astype(float)
    gain, offset = np.random.default_rng(seed).uniform([0.5, 0], [1, 100])
    assert similarity(make_photo(number), (photo * gain + offset).clip(0, 255).astype(np.uint8)) > 0.9


def test_blank_images_are_alike_only_if_they_are_equal():
    blank, noisy = np.full((40, 40, 3), 128, np.uint8), np.full((40, 40, 3), 128, np.uint8)
    noisy[::2, ::3] += 1
    assert similarity(blank, blank) == 1
    assert similarity(blank, noisy) < 0.5
    assert similarity(blank, make_photo(1)) < 0.5


def test_a_resized_image_agrees():
    photo = make_photo(5, 400, 300)
    small = np.asarray(Image.fromarray(photo).resize((61, 83)))
    assert similarity(photo, small) > 0.95

"""Properties, examples and faults of saliency and variance maps as 8-bit PNG."""

import hashlib
import io

import cv2
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from model.maps import encode_png, quantise_deviation, quantise_saliency, quantise_variance
from pipeline.files.maps import decode_masks, decode_png, encode_masks, mask_of, variance_of

SHAPES = arrays.array_shapes(min_dims=2, max_dims=2, max_side=12)
STORED = arrays.arrays(np.uint8, SHAPES)
ALL_STORED = np.arange(256, dtype=np.uint8)[None, :]
ROUNDING = 1e-12
MASKS = arrays.arrays(np.bool_, arrays.array_shapes(min_dims=3, max_dims=3, max_side=20))


def maps(highest):
    return arrays.arrays(np.float32, SHAPES, elements=st.floats(0, highest, width=32))


# Properties


@given(maps(1))
def test_a_stored_saliency_is_off_by_at_most_half_a_step(saliency):
    assert np.abs(quantise_saliency(saliency) / 255 - saliency.astype(np.float64)).max() <= 1 / 510 + ROUNDING


@given(maps(0.25))
def test_the_standard_deviation_of_a_stored_variance_is_off_by_at_most_half_a_step(variance):
    stored = variance_of(quantise_variance(variance))
    assert np.abs(np.sqrt(stored) - np.sqrt(variance.astype(np.float64))).max() <= 1 / 1020 + ROUNDING
    assert stored.min() >= 0
    assert stored.max() <= 0.25


@given(maps(1))
def test_a_stored_deviation_is_off_by_at_most_half_a_step_and_beyond_one_half_it_is_the_largest(deviation):
    stored = quantise_deviation(deviation)
    assert np.abs(stored / 510 - deviation.astype(np.float64).clip(max=0.5)).max() <= 1 / 1020 + ROUNDING
    assert (stored[deviation >= 0.5] == 255).all()


MORE_THAN_AT_ONCE = np.random.default_rng(0).random((7, 5001), np.float32)


@given(maps(0.25))
@example(MORE_THAN_AT_ONCE / 4)
@example(MORE_THAN_AT_ONCE.T[::-1] / 4)
def test_maps_are_stored_as_by_plain_formulas_over_whole_maps(values):
    exact = values.astype(np.float64)
    for quantise, steps in (
        (quantise_saliency, exact * 255),
        (quantise_variance, np.sqrt(exact) * 510),
        (quantise_deviation, exact * 510),
    ):
        assert np.array_equal(quantise(values), np.rint(steps.clip(0, 255)).astype(np.uint8))


@given(maps(0.25))
def test_a_variance_is_stored_as_its_deviation(variance):
    assert np.array_equal(quantise_variance(variance), quantise_deviation(np.sqrt(variance.astype(np.float64))))


@given(maps(0.25))
def test_a_larger_value_is_never_stored_as_a_smaller_one(values):
    ordered = np.sort(values, axis=None)[None, :]
    for quantise in (quantise_saliency, quantise_variance, quantise_deviation):
        assert (np.diff(quantise(ordered).astype(int)) >= 0).all()


@given(maps(1))
def test_the_mask_of_a_stored_map_is_where_the_saliency_was_at_least_one_half(saliency):
    assert np.array_equal(mask_of(quantise_saliency(saliency)), saliency >= 0.5)


@given(STORED)
def test_a_png_gives_back_the_values_that_it_was_made_of_and_the_same_bytes_each_time(stored):
    content = encode_png(stored)
    assert np.array_equal(decode_png(content), stored)
    assert encode_png(decode_png(content)) == content


@given(STORED)
def test_pillow_and_opencv_see_the_values_that_a_png_was_made_of(stored):
    content = encode_png(stored)
    with Image.open(io.BytesIO(content)) as image:
        assert np.array_equal(np.asarray(image), stored)
    assert np.array_equal(cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED), stored)


@given(STORED)
def test_a_view_of_a_map_is_stored_as_its_copy(stored):
    assert encode_png(stored.T[::-1]) == encode_png(np.ascontiguousarray(stored.T[::-1]))


# Examples


def test_the_bytes_of_a_png_do_not_depend_on_the_versions_of_libraries():
    """Of zlib 1.2.13. Whoever gets others here has a zlib that looks for runs in its own way."""
    soft = (np.hypot(*np.mgrid[-40:40, -60:60]) * 3).clip(0, 255).astype(np.uint8)
    assert (
        hashlib.sha256(encode_png(soft)).hexdigest()
        == "29f6e15e092e3f70f3ea7bee63ce6189c8c6c355a6ee724744a285417bf56dd7"
    )


def test_every_stored_value_survives_being_read_and_stored_again():
    assert np.array_equal(quantise_saliency(ALL_STORED / np.float32(255)), ALL_STORED)
    assert np.array_equal(quantise_variance(variance_of(ALL_STORED)), ALL_STORED)


@pytest.mark.parametrize(
    ("saliency", "stored"), [(0, 0), (0.5, 128), (1, 255), (np.nextafter(np.float32(0.5), 0), 127)]
)
def test_saliency_is_rounded_and_not_truncated(saliency, stored):
    assert quantise_saliency(np.full((1, 1), saliency, np.float32)) == stored


@pytest.mark.parametrize(("variance", "stored"), [(0, 0), (0.25, 255), (0.0625, 128), (1e-5, 2)])
def test_variance_is_stored_by_its_square_root(variance, stored):
    assert quantise_variance(np.full((1, 1), variance, np.float32)) == stored


def test_other_programs_see_a_grey_image_of_the_same_size():
    with Image.open(io.BytesIO(encode_png(np.zeros((3, 5), np.uint8)))) as image:
        assert (image.format, image.mode, image.size) == ("PNG", "L", (5, 3))


# Faults


@pytest.mark.parametrize("mode", ["1", "LA", "P", "RGB", "RGBA", "I;16"])
def test_a_png_of_another_mode_is_refused_by_name(mode):
    file = io.BytesIO()
    Image.new(mode, (4, 4)).save(file, "PNG")
    with pytest.raises(ValueError, match=mode):
        decode_png(file.getvalue())


def test_anything_but_a_whole_png_is_refused():
    file = io.BytesIO()
    Image.new("L", (4, 4)).save(file, "BMP")
    whole = encode_png(np.arange(900, dtype=np.uint8).reshape(30, 30))
    pixels_end = len(whole) - 24  # then come checksums and the end mark, without which every pixel is there
    for content in (b"", b"no image", file.getvalue(), *(whole[:length] for length in range(0, pixels_end, 8))):
        with pytest.raises(ValueError, match="PNG"):
            decode_png(content)


@given(MASKS)
def test_masks_of_members_come_back_as_they_were_and_equal_ones_have_equal_bytes(masks):
    content = encode_masks(masks)
    assert np.array_equal(decode_masks(content, len(masks)), masks)
    assert encode_masks(masks.copy(order="F")) == content


@given(MASKS, st.integers(0, 25))
def test_masks_are_not_read_as_a_number_that_does_not_divide_the_width(masks, count):
    width = masks.shape[0] * masks.shape[2]
    if count and width % count == 0:
        assert len(decode_masks(encode_masks(masks), count)) == count
    else:
        with pytest.raises(ValueError, match=f"{width} px are not the width of {count} masks"):
            decode_masks(encode_masks(masks), count)


@pytest.mark.parametrize("kept", [0, 1, 40, 60])
def test_masks_of_members_that_end_early_are_refused(kept):
    with pytest.raises(ValueError, match="not a whole PNG"):
        decode_masks(encode_masks(np.eye(40, dtype=bool)[None].repeat(2, 0))[:kept], 2)


def test_a_grey_png_is_not_one_of_members():
    with pytest.raises(ValueError, match="members are stored in 1 bit; this PNG has mode L"):
        decode_masks(encode_png(np.zeros((4, 4), dtype=np.uint8)), 2)

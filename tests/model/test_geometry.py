"""Pixels ↔ tensors: properties of squares, of padding and of maps; predictions at the images' own sizes; faults."""

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from model.geometry import preprocess, processed_size, resize_map, squared, without_padding
from tests.model.make import assert_close, assert_equal, make_ensemble

FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
PILLOW_ATOL = 5e-5
"""Both add float32 products, torch with weights in float32: over 8,000 random sizes up to 260 px 3e-5 was seen."""

sides = st.integers(1, 200)
map_sides = st.integers(1, 60)
few = settings(deadline=None, max_examples=5)


def make_noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def make_map(height, width, seed=0):
    return torch.rand(height, width, generator=torch.Generator().manual_seed(seed))


def as_tensor(image):
    return torch.from_numpy(image).permute(2, 0, 1).float() / 255


# Properties of padding


@given(sides, sides, st.integers(0, 9))
@example(64, 128, 0)
@example(1, 1, 0)
def test_what_is_padded_and_cut_is_the_image_again(height, width, seed):
    image = make_noise(height, width, seed)
    (padded,) = preprocess([image], 0)
    assert torch.equal(without_padding(padded, (height, width), 0), as_tensor(image))


@given(sides, sides)
@example(64, 128)
@example(65, 63)
def test_padding_repeats_the_last_row_and_column_up_to_the_next_multiple(height, width):
    image = make_noise(height, width)
    (padded,) = preprocess([image], 0)
    padded_height, padded_width = padded.shape[1:]
    for padded_side, side in ((padded_height, height), (padded_width, width)):
        assert padded_side % 64 == 0  # eight of the VAE, times eight of Stable Diffusion's UNet
        assert 0 <= padded_side - side < 64
    rows, columns = np.arange(padded_height).clip(max=height - 1), np.arange(padded_width).clip(max=width - 1)
    assert torch.equal(padded, as_tensor(image[np.ix_(rows, columns)]))


@given(sides, sides, st.just(0) | st.integers(8, 300))
def test_the_processed_size_is_that_of_what_the_networks_are_given(height, width, side_px):
    size = processed_size((height, width), side_px)
    assert (
        size == (side_px, side_px) if side_px else size == tuple(preprocess([make_noise(height, width)], 0).shape[2:])
    )


@given(map_sides, st.sampled_from([32, 64]))
def test_squares_have_no_padding_to_be_cut(height, side_px):
    maps = torch.rand(2, side_px, side_px)
    assert torch.equal(without_padding(maps, (height, 5), side_px), maps)


# Properties of squares


@given(map_sides, map_sides, st.integers(0, 255), st.sampled_from([8, 33, 64, 100]))
@settings(deadline=None, max_examples=30)
def test_preprocessing_makes_squares_in_0_to_1_and_keeps_a_plain_colour(height, width, level, side_px):
    plain = np.full((height, width, 3), level, np.uint8)
    pixels = preprocess([plain, make_noise(width, height, level)], side_px)
    assert pixels.shape == (2, 3, side_px, side_px)
    assert pixels.dtype == torch.float32
    assert pixels.min() >= 0
    assert pixels.max() <= 1
    assert torch.equal(pixels[0], torch.full((3, side_px, side_px), level) / 255)


@given(st.sampled_from([8, 33, 64, 100]), st.integers(0, 9))
def test_an_image_that_is_the_square_already_is_left_as_it_is(side_px, seed):
    image = make_noise(side_px, side_px, seed)
    assert np.array_equal(squared(image, side_px), image)
    assert torch.equal(preprocess([image], side_px)[0], as_tensor(image))


# Properties of maps


@given(map_sides, map_sides, map_sides, map_sides, st.floats(0, 1, width=32))
@example(5, 3, 9, 1, 0.5)
def test_a_resized_map_has_the_asked_size_and_no_new_extremes(height, width, new_height, new_width, constant):
    values = make_map(height, width, height * 61 + width)
    resized = resize_map(values, (new_height, new_width))
    assert resized.shape == (new_height, new_width)
    assert resized.min() >= values.min() - 1e-6
    assert resized.max() <= values.max() + 1e-6
    flat = resize_map(torch.full((height, width), constant), (new_height, new_width))
    torch.testing.assert_close(flat, torch.full((new_height, new_width), constant), rtol=0, atol=1e-6)


@pytest.mark.parametrize("resize_filter", FILTERS)
@given(map_sides, map_sides)
@settings(deadline=None, max_examples=20)
def test_a_map_of_the_asked_size_is_left_as_it_is(resize_filter, height, width):
    values = make_map(height, width)
    assert torch.equal(resize_map(values, (height, width), resize_filter), values)


@pytest.mark.parametrize("resize_filter", FILTERS)
@given(sides, sides, sides, sides, st.booleans())
@example(3, 1, 4, 1, False)  # one column, from and to
@example(5, 3, 9, 1, False)
@example(3, 5, 1, 9, False)
@example(9, 9, 1, 1, False)
@example(64, 64, 2, 200, True)
def test_maps_are_resized_as_pillow_does_it_with_floats(resize_filter, height, width, new_height, new_width, binary):
    values = make_map(height, width, height * 201 + width)
    values = values.round() if binary else values
    resized = resize_map(values, (new_height, new_width), resize_filter)
    by_pillow = Image.fromarray(values.numpy()).resize((new_width, new_height), FILTERS[resize_filter])
    np.testing.assert_allclose(resized.numpy(), np.asarray(by_pillow), rtol=0, atol=PILLOW_ATOL)


# Predictions at the images' own sizes


@few
@given(st.lists(st.tuples(st.integers(1, 100), st.integers(1, 100)), min_size=1, max_size=4))
@example([(20, 30), (70, 10), (20, 31), (64, 64), (65, 64)])  # of three processed sizes, not one after the other
def test_images_of_different_own_sizes_come_back_in_order_and_as_each_alone(tiny, image_of, sizes):
    images = [image_of(*size, number) for number, size in enumerate(sizes)]
    keys = [str(number) for number in range(len(images))]
    together = tiny.predict(images, keys, make_ensemble(processing_res=0))
    for image, key, prediction in zip(images, keys, together, strict=True):
        height, width = image.shape[:2]
        assert prediction.saliency.shape == prediction.variance.shape == prediction.uncertainty.shape == (height, width)
        assert prediction.members.shape == (2, height, width)
        assert_close(tiny.predict([image], [key], make_ensemble(processing_res=0))[0], prediction)


@few
@given(st.integers(1, 100), st.integers(1, 100))
@example(64, 64)
@example(129, 1)
def test_at_its_own_size_an_image_is_padded_and_its_members_are_cut(tiny, image_of, height, width):
    image = image_of(height, width)
    padded_height, padded_width = processed_size((height, width), 0)
    padded = np.pad(image, ((0, padded_height - height), (0, padded_width - width), (0, 0)), mode="edge")
    (whole,) = tiny.predict([padded], ["7"], make_ensemble(processing_res=0))
    (cut,) = tiny.predict([image], ["7"], make_ensemble(processing_res=0))
    assert np.array_equal(cut.members, whole.members[:, :height, :width])
    np.testing.assert_allclose(cut.saliency, cut.members.mean(0), rtol=0, atol=1e-6)  # nothing is resized


# Examples


def test_a_square_whose_own_size_is_the_processing_resolution_is_predicted_with_the_same_bits(tiny, image_of):
    square, own = (tiny.predict([image_of(64, 64)], ["7"], make_ensemble(processing_res=side))[0] for side in (64, 0))
    assert_equal(square, own)


def test_squares_give_the_aspect_ratio_up():
    halves = np.zeros((10, 80, 3), np.uint8)
    halves[:, 40:] = 255
    square = squared(halves, 64)
    assert (square[:, :31] == 0).all()
    assert (square[:, 33:] == 255).all()


def test_squares_are_resized_bicubically():
    step = np.full((8, 8, 3), 100, np.uint8)
    step[:, 4:] = 150
    square = squared(step, 32)
    assert square.min() < 100  # bilinear would stay between
    assert square.max() > 150


def test_a_map_gets_smaller_by_means_and_not_by_picking():
    values = torch.zeros(64, 64)
    values[::4] = 1
    small = resize_map(values, (4, 4))
    torch.testing.assert_close(small, torch.full((4, 4), 0.25), rtol=0, atol=0.02)


def test_only_the_bicubic_filter_overshoots():
    step = torch.zeros(8, 8)
    step[:, 4:] = 1
    bilinear, bicubic = (resize_map(step, (40, 40), resize_filter) for resize_filter in ("bilinear", "bicubic"))
    assert (bilinear.min(), bilinear.max()) == (0, 1)
    assert bicubic.min() < -0.01
    assert bicubic.max() > 1.01


# Faults


@pytest.mark.parametrize("side_px", [-64, -1, 1, 7])
def test_a_resolution_without_latents_is_refused(side_px):
    with pytest.raises(ValueError, match=f"^processing resolution is {side_px}; it must be at least 8 px"):
        preprocess([make_noise(9, 9)], side_px)


def test_images_of_different_own_sizes_are_not_stacked():
    with pytest.raises(ValueError, match="same shape"):
        preprocess([make_noise(9, 9), make_noise(9, 90)], 0)

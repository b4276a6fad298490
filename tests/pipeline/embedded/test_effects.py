"""Effects: what each does to a picture, and that all keep to their ranges."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.embedded.effects import (
    blur,
    feather,
    illuminate,
    jitter_colours,
    over,
    photograph,
    ramp_field,
    smooth_noise,
    to_range,
)

PX = 48


def make_scene(level=120, px=PX):
    return np.full((px, px, 3), level, np.float32)


def test_over_with_a_full_alpha_shows_the_colours_alone():
    assert np.array_equal(over(make_scene(0), make_scene(9), np.ones((PX, PX), np.float32)), make_scene(9))


def test_over_with_an_empty_alpha_shows_the_scene_alone():
    assert np.array_equal(over(make_scene(7), make_scene(9), np.zeros((PX, PX), np.float32)), make_scene(7))


def test_a_blur_of_no_radius_is_none():
    image = make_scene(7.5)
    assert blur(image, 0.0) is image


def test_a_feathered_alpha_is_softer_and_still_within_its_range():
    alpha = np.zeros((PX, PX), np.float32)
    alpha[10:30, 10:30] = 1
    soft = feather(alpha, 2)
    assert 0 <= soft.min() < 0.01 < 0.3 < soft[10, 20] < 0.7 < soft.max() <= 1


@given(st.integers(0, 1000), st.integers(0, 255), st.sampled_from([illuminate, jitter_colours]))
@settings(deadline=None)
def test_light_and_colour_stay_within_their_range(seed, level, effect):
    changed = effect(make_scene(level), np.random.default_rng(seed))
    assert changed.dtype == np.float32
    assert 0 <= changed.min() <= changed.max() <= 255


@given(st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_a_photograph_is_8_bit_and_like_its_scene(seed):
    image = photograph(make_scene(120), np.random.default_rng(seed))
    assert (image.shape, image.dtype) == ((PX, PX, 3), np.uint8)
    assert 60 < image.mean() < 190


@given(st.integers(0, 1000))
@settings(deadline=None)
def test_a_ramp_goes_from_zero_to_one(seed):
    ramp = ramp_field(np.random.default_rng(seed), PX)
    assert (ramp.min(), ramp.max()) == (0, pytest.approx(1))


@given(st.integers(0, 1000), st.sampled_from([2, 5, 12]))
@settings(deadline=None)
def test_noise_is_smooth_between_its_nodes(seed, cells):
    noise = smooth_noise(np.random.default_rng(seed), 96, cells)
    assert noise.shape == (96, 96)
    assert np.abs(np.diff(noise, axis=0)).max() < 0.15 * cells


def test_values_out_of_range_are_clipped():
    assert to_range(np.array([-1.0, 3.0, 256.0])).tolist() == [0, 3, 255]

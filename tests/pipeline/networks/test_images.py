"""What a network is given, and what its map says about the image's own pixels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from model.prediction import ModelOutputError
from pipeline.networks.images import network_input, saliency_from
from pipeline.networks.presets import Signature

SIDES = st.integers(1, 24)
NUMBERS = st.floats(-3, 3, width=32)
PIXELS = st.tuples(SIDES, SIDES).flatmap(lambda sides: arrays(np.uint8, (*sides, 3)))
WHITES = st.sampled_from(["1", "255", "brightest"])


@given(PIXELS, st.tuples(NUMBERS, NUMBERS, NUMBERS), st.tuples(*[st.floats(0.1, 2)] * 3), WHITES)
def test_colours_are_scaled_as_the_signature_says(pixels, mean, std, white):
    """At the image's own size nothing is resized, so every value follows from its own pixel."""
    height, width = pixels.shape[:2]
    found = network_input(pixels, Signature(mean=mean, std=std, white=white), height, width)
    scale = {"1": 1 / 255, "255": 1.0, "brightest": 1 / max(1, pixels.max())}[white]
    expected = (pixels.astype(np.float64) * scale - mean) / std
    assert found.shape == (1, 3, height, width)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[0].transpose(1, 2, 0), expected, rtol=1e-5, atol=1e-4)


@given(PIXELS, SIDES, SIDES)
def test_an_input_has_the_networks_size_and_keeps_red_before_green_before_blue(pixels, height, width):
    pixels[...] = [10, 100, 200]
    found = network_input(pixels, Signature(white="255"), height, width)
    assert found.shape == (1, 3, height, width)
    assert [set(colour.ravel()) for colour in found[0]] == [{10.0}, {100.0}, {200.0}]


MAPS = st.tuples(SIDES, SIDES).flatmap(lambda sides: arrays(np.float32, sides, elements=st.floats(0, 1, width=32)))


@given(MAPS, SIDES, SIDES)
def test_a_map_comes_back_at_the_images_size_within_its_own_range(found, height, width):
    saliency = saliency_from(found, "probabilities", height, width)
    assert saliency.shape == (height, width)
    assert saliency.dtype == np.float32
    assert found.min() - 1e-6 <= saliency.min() <= saliency.max() <= found.max() + 1e-6


@given(MAPS)
def test_probabilities_at_the_images_size_stay_as_they_are(found):
    assert np.array_equal(saliency_from(found, "probabilities", *found.shape), found)


@given(MAPS)
def test_logits_become_their_probabilities(found):
    logits = 20 * (found - np.float32(0.5))
    expected = 1 / (1 + np.exp(-logits.astype(np.float64)))
    np.testing.assert_allclose(saliency_from(logits, "logits", *found.shape), expected, atol=1e-6)


@given(MAPS, st.floats(1, 50), st.floats(-50, 50))
def test_a_stretched_map_does_not_depend_on_its_scale(found, factor, shift):
    spread = float(found.max() - found.min())
    saliency = saliency_from(found, "stretched", *found.shape)
    assert saliency.min() == 0
    assert saliency.max() == (1 if spread else 0)
    if spread > 1e-2:
        moved = (found * factor + shift).astype(np.float32)
        np.testing.assert_allclose(saliency_from(moved, "stretched", *found.shape), saliency, atol=2e-3)


@pytest.mark.parametrize("values", ["probabilities", "logits", "stretched"])
@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_a_map_with_nan_or_infinity_is_none(values, wrong):
    found = np.full((4, 4), 0.5, np.float32)
    found[2, 1] = wrong
    with pytest.raises(ModelOutputError, match="NaN or infinity"):
        saliency_from(found, values, 4, 4)


@pytest.mark.parametrize(
    ("lowest", "highest", "is_refused"), [(-0.01, 1, True), (0, 1.01, True), (-5e-4, 1.0005, False)]
)
def test_values_that_are_no_probabilities_are_refused_but_for_rounding(lowest, highest, is_refused):
    found = np.array([[lowest, highest]], np.float32)
    if is_refused:
        with pytest.raises(
            ModelOutputError, match=r"from .* to .*, which are no probabilities.*--network-values logits"
        ):
            saliency_from(found, "probabilities", 1, 2)
    else:
        assert saliency_from(found, "probabilities", 1, 2).tolist() == [[0, 1]]


def test_an_image_lies_as_its_pixels_do():
    pixels = np.zeros((20, 40, 3), np.uint8)
    pixels[:5, 30:] = 255
    found = network_input(pixels, Signature(), 20, 20)[0].mean(0)
    assert found[:4, 16:].min() == 1
    assert found[7:].max() == found[:, :13].max() == 0
    back = saliency_from(found, "probabilities", 20, 40)
    assert back[:4, 32:].min() > 0.9
    assert back[8:].max() == back[:, :26].max() == 0


def test_a_black_image_stays_black_where_the_brightest_value_counts():
    found = network_input(np.zeros((3, 3, 3), np.uint8), Signature(white="brightest"), 3, 3)
    assert not found.any()

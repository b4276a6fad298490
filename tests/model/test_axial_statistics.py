"""Axial layers that normalise by the image at hand: as batch norm in training with each image alone, for a time."""

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import nn

from model.axial import AxialEncoder, ConvNorm, image_statistics
from tests.model.make import with_drawn_weights

few = settings(deadline=None, max_examples=25)


def make_images(count, height, width):
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(count * 10 + height)) - 0.5


def flags(network):
    return [layer.image_statistics for layer in network.modules() if isinstance(layer, ConvNorm)]


# Properties


@few
@given(st.integers(1, 4), st.integers(1, 6), st.integers(2, 6), st.sampled_from([1, 3]))
@example(1, 1, 2, 1)
@torch.no_grad()
def test_each_image_is_normalised_as_batch_norm_in_training_would_it_alone(count, height, width, kernel):
    layer, images = with_drawn_weights(ConvNorm(3, 5, kernel)), make_images(count, height, width)
    with image_statistics(layer, wanted=True):
        normalised = layer(images)
    layer.bn.train()
    for number in range(count):
        alone = layer.bn(layer.conv(images[number : number + 1]))[0]
        torch.testing.assert_close(normalised[number], alone, rtol=1e-5, atol=1e-5)


@few
@given(st.integers(2, 4), st.integers(0, 3))
@torch.no_grad()
def test_other_images_of_a_batch_do_not_matter(count, chosen):
    chosen %= count
    encoder, images = with_drawn_weights(AxialEncoder(3, 8)), make_images(count, 5, 4)
    with image_statistics(encoder, wanted=True):
        together, alone = encoder(images)[chosen], encoder(images[chosen : chosen + 1])[0]
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-4)


# Examples


@torch.no_grad()
def test_without_being_wanted_the_trained_statistics_count():
    encoder, images = with_drawn_weights(AxialEncoder(3, 8)), make_images(2, 5, 4)
    plain = encoder(images)
    with image_statistics(encoder, wanted=False):
        assert torch.equal(encoder(images), plain)
    with image_statistics(encoder, wanted=True):
        assert (encoder(images) - plain).abs().max() > 0.1
    assert torch.equal(encoder(images), plain)


@torch.no_grad()
def test_trained_statistics_are_neither_used_nor_changed():
    encoder, images = with_drawn_weights(AxialEncoder(3, 8)), make_images(2, 5, 4)
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    with image_statistics(encoder, wanted=True):
        normalised = encoder(images)
        assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())
        for layer in encoder.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.running_mean += 1
                layer.running_var *= 3
        assert torch.equal(encoder(images), normalised)


def test_every_layer_of_the_network_takes_part_and_only_inside_the_block():
    encoder = AxialEncoder(3, 8)
    assert flags(encoder) == [False] * 33
    with image_statistics(encoder, wanted=True):
        assert flags(encoder) == [True] * 33
    assert flags(encoder) == [False] * 33


# Faults


def test_an_exception_inside_the_block_is_passed_on_and_leaves_nothing_behind():
    encoder = AxialEncoder(3, 8)
    with pytest.raises(RuntimeError, match="in the middle"), image_statistics(encoder, wanted=True):
        raise RuntimeError("in the middle")
    assert not any(flags(encoder))

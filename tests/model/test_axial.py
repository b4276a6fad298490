"""Properties, examples and faults of axial attention and of the encoder and decoder made of it."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.axial import AxialAttention, AxialDecoder, AxialEncoder, ConvNorm
from tests.model.make import with_drawn_weights

few = settings(deadline=None, max_examples=25)
sides = st.integers(1, 6)


def rand(*shape, seed=1):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) - 0.5


def attention_in_loops(layer, x):
    """The definition, spelt out: all values in row-major order, cut into lines of one axis' length."""
    batch, _, height, width = x.shape
    positions = height if layer.axis == "height" else width
    query, key, value = (
        part(x).double().numpy().reshape(batch, -1, positions) for part in (layer.query, layer.key, layer.value)
    )
    out = np.zeros(value.shape)
    for image in range(batch):
        for i in range(positions):
            scores = np.array([query[image, :, i] @ key[image, :, j] for j in range(positions)])
            weights = np.exp(scores - scores.max())
            weights /= weights.sum()
            out[image, :, i] = sum(weights[j] * value[image, :, j] for j in range(positions))
    return layer.gamma.item() * out.reshape(x.shape) + x.double().numpy()


# Properties


@few
@given(sides, sides, st.integers(1, 3), st.sampled_from(["height", "width"]))
@torch.no_grad()
def test_attention_is_its_definition_on_square_maps_and_on_others(height, width, batch, axis):
    layer, x = with_drawn_weights(AxialAttention(8, axis)), rand(batch, 8, height, width)
    np.testing.assert_allclose(layer(x).numpy(), attention_in_loops(layer, x), rtol=0, atol=1e-5)


@few
@given(sides, sides, st.sampled_from([1, 3, (1, 5), (5, 1)]), st.integers(1, 7))
@torch.no_grad()
def test_convolutions_keep_height_and_width(height, width, kernel, dilation):
    assert with_drawn_weights(ConvNorm(3, 5, kernel, dilation))(rand(2, 3, height, width)).shape == (
        2,
        5,
        height,
        width,
    )


@few
@given(sides, sides, st.integers(1, 3))
@torch.no_grad()
def test_an_encoder_keeps_height_and_width_and_is_never_negative(height, width, batch):
    encoded = with_drawn_weights(AxialEncoder(6, 8))(rand(batch, 6, height, width))
    assert encoded.shape == (batch, 8, height, width)
    assert encoded.min() >= 0
    assert encoded.max() > 0


@few
@given(sides, sides, st.integers(1, 3))
@torch.no_grad()
def test_a_decoder_gives_maps_at_the_size_of_the_finest(height, width, batch):
    encoded = [rand(batch, 8, height * scale, width * scale, seed=scale) for scale in (1, 2, 4)]
    features, side = with_drawn_weights(AxialDecoder(8))(encoded)
    assert features.shape == (batch, 8, height * 4, width * 4)
    assert side.shape == (batch, 1, height * 4, width * 4)


@few
@given(st.integers(2, 4), st.integers(0, 3))
@torch.no_grad()
def test_layers_treat_the_images_of_a_batch_apart(batch, chosen):
    chosen = chosen % batch
    x = rand(batch, 6, 5, 4)
    encoder = with_drawn_weights(AxialEncoder(6, 8))
    torch.testing.assert_close(encoder(x)[chosen], encoder(x[chosen : chosen + 1])[0], rtol=1e-5, atol=1e-5)


# Examples


@pytest.mark.parametrize("axis", ["height", "width"])
def test_attention_starts_as_the_identity(axis):
    x = rand(2, 8, 3, 5)
    assert torch.equal(AxialAttention(8, axis)(x), x)


@torch.no_grad()
def test_attention_of_one_axis_is_that_of_the_other_on_the_same_values_seen_as_a_square():
    height, width = (with_drawn_weights(AxialAttention(8, axis)) for axis in ("height", "width"))
    x = rand(1, 8, 4, 4)
    assert torch.equal(height(x), width(x))  # the quirk of the reference: no permutation
    assert not torch.equal(height(x), height(x.mT).mT)


@torch.no_grad()
def test_a_kernel_reaches_as_far_as_its_row_its_column_and_its_dilation():
    kernel = with_drawn_weights(AxialEncoder(1, 8)).kernels[0]  # of size 3
    for attention in (kernel.attend_height, kernel.attend_width):
        attention.gamma.zero_()
    x = torch.zeros(1, 1, 21, 21)
    touched = x.clone()
    touched[0, 0, 10, 10] = 1
    rows, columns = torch.where((kernel(touched) - kernel(x)).abs().amax((0, 1)) > 1e-6)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (6, 14, 6, 14)  # 1 by 3 x 3, 3 by the dilation


@torch.no_grad()
def test_coarse_maps_come_first_in_the_decoder():
    decoder = with_drawn_weights(AxialDecoder(8))
    coarse, middle, fine = (rand(1, 8, side, side, seed=side) for side in (1, 2, 4))
    features, _ = decoder([coarse, middle, fine])
    blind = with_drawn_weights(AxialDecoder(8))
    blind.merge.conv.weight[:, :8] = 0  # the first 8 input channels are the coarsest map's
    assert torch.equal(blind([coarse, middle, fine])[0], blind([coarse + 1, middle, fine])[0])
    assert not torch.equal(features, decoder([coarse + 1, middle, fine])[0])


# Faults


def test_a_decoder_wants_as_many_maps_as_it_was_made_for():
    with pytest.raises(RuntimeError, match="channels"):
        AxialDecoder(8)([rand(1, 8, 2, 2), rand(1, 8, 4, 4)])

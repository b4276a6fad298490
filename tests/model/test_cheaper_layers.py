"""Layers that stand for others: the same values, whatever the sizes, weights and memory layout."""

import pytest
import torch
from diffusers.models.upsampling import Upsample2D
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import nn

from model.cheaper_layers import MeanConv, MergedUpsample, SplitConv, WideGroupNorm
from tests.model.make import with_drawn_weights

ATOL = 1e-4
"""Sums in another order: values go up to about 10."""
sides = st.integers(1, 9)
layouts = st.sampled_from([torch.contiguous_format, torch.channels_last])


def draw(*shape, seed=1, layout=torch.contiguous_format):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(memory_format=layout)


def taken_over(cheaper):
    cheaper.merge_weights()
    return cheaper


@given(st.integers(1, 3), st.integers(1, 5), st.integers(1, 5), sides, sides, layouts, st.booleans())
def test_a_merged_upsampling_gives_what_the_plain_one_gives(batch, inputs, outputs, height, width, layout, bias):
    plain = with_drawn_weights(Upsample2D(inputs, use_conv=True, out_channels=outputs, bias=bias)).to(
        memory_format=layout
    )
    x = draw(batch, inputs, height, width, layout=layout)
    torch.testing.assert_close(taken_over(MergedUpsample(plain))(x), plain(x), rtol=0, atol=ATOL)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_merged_upsampling_keeps_the_memory_layout(layout):
    plain = Upsample2D(4, use_conv=True).to(memory_format=layout)
    merged = taken_over(MergedUpsample(plain))
    assert merged(draw(2, 4, 3, 3, layout=layout)).is_contiguous(memory_format=layout)
    assert merged.weight.is_contiguous(memory_format=layout)


@given(sides, sides, st.integers(0, 3), st.integers(0, 3))
def test_a_merged_upsampling_leaves_other_sizes_than_the_double_to_the_plain_one(height, width, more, less):
    plain = with_drawn_weights(Upsample2D(2, use_conv=True))
    size = (2 * height + more, max(1, 2 * width - less))
    x = draw(1, 2, height, width)
    found = taken_over(MergedUpsample(plain))(x, size)
    assert found.shape[2:] == size
    torch.testing.assert_close(found, plain(x, size), rtol=0, atol=ATOL)


@pytest.mark.parametrize(
    "other",
    [
        Upsample2D(4),
        Upsample2D(4, use_conv_transpose=True),
        Upsample2D(4, use_conv=True, interpolate=False),
        Upsample2D(4, use_conv=True, norm_type="ln_norm", eps=1e-5, elementwise_affine=True),
        Upsample2D(4, use_conv=True, name="Conv2d_0"),
        Upsample2D(4, use_conv=True, kernel_size=5, padding=2),
        nn.Conv2d(4, 4, 3, padding=1),
    ],
)
def test_a_merged_upsampling_stands_for_nothing_else(other):
    assert not MergedUpsample.can_replace(other)
    assert MergedUpsample.can_replace(Upsample2D(4, use_conv=True))


@given(st.integers(1, 3), st.integers(1, 5), st.integers(1, 4), sides, sides, st.booleans())
def test_a_mean_convolution_gives_the_mean_of_the_channels(batch, inputs, outputs, height, width, bias):
    plain = with_drawn_weights(nn.Conv2d(inputs, outputs, 3, padding=1, bias=bias))
    x = draw(batch, inputs, height, width)
    torch.testing.assert_close(taken_over(MeanConv(plain))(x), plain(x).mean(1, keepdim=True), rtol=0, atol=ATOL)


@given(st.integers(1, 3), st.integers(1, 4), st.integers(1, 3), st.integers(1, 3), sides, st.booleans())
def test_a_split_convolution_gives_that_of_both_maps(images, members, first, second, side, bias):
    plain = with_drawn_weights(nn.Conv2d(first + second, 5, 3, padding=1, bias=bias))
    stays, changes = draw(images, first, side, side), draw(images * members, second, side, side, seed=2)
    split = taken_over(SplitConv(plain))
    split.set_first(stays)
    together = torch.cat([stays.repeat_interleave(members, 0), changes], dim=1)
    torch.testing.assert_close(split(changes), plain(together), rtol=0, atol=ATOL)


@pytest.mark.parametrize("kind", [MeanConv, MergedUpsample])
def test_weights_are_those_of_the_time_when_they_are_taken_over(kind):
    plain = with_drawn_weights(
        Upsample2D(2, use_conv=True) if kind is MergedUpsample else nn.Conv2d(2, 3, 3, padding=1)
    )
    cheaper, x = taken_over(kind(plain)), draw(1, 2, 4, 4)
    before = cheaper(x)
    with torch.no_grad():
        for weight in plain.parameters():
            weight.data.copy_(weight.data * 2)
    assert torch.equal(cheaper(x), before)
    torch.testing.assert_close(taken_over(cheaper)(x), 2 * before)


halves = st.sampled_from([torch.bfloat16, torch.float16])
norm_sides = st.sampled_from([1, 2, 7, 24, 31, 32, 33])


@given(halves, st.integers(1, 3), st.sampled_from([(2, 4), (3, 9), (4, 4)]), norm_sides, norm_sides, layouts)
def test_a_wide_norm_gives_what_the_plain_one_gives_in_float32(dtype, batch, channels, height, width, layout):
    groups, count = channels
    assume(count // groups * height * width > 1)  # torch refuses groups of one value
    plain = with_drawn_weights(nn.GroupNorm(groups, count)).to(dtype)
    x = draw(batch, count, height, width, layout=layout).to(dtype)
    found = WideGroupNorm(plain)(x)
    wide = nn.functional.group_norm(x.float(), groups, plain.weight.float(), plain.bias.float(), plain.eps)
    eps = torch.finfo(dtype).eps
    torch.testing.assert_close(found.float(), wide, rtol=2 * eps, atol=2 * eps)
    assert (found.dtype, found.stride()) == (dtype, plain(x).stride())


@given(st.integers(1, 3), norm_sides, norm_sides, layouts)
def test_a_wide_norm_leaves_float32_to_the_plain_one(batch, height, width, layout):
    plain = with_drawn_weights(nn.GroupNorm(2, 6))
    x = draw(batch, 6, height, width, layout=layout)
    assert torch.equal(WideGroupNorm(plain)(x), plain(x))


def test_a_wide_norm_takes_tokens_too():
    plain = with_drawn_weights(nn.GroupNorm(2, 6)).bfloat16()
    x = draw(2, 6, 5).bfloat16()
    torch.testing.assert_close(WideGroupNorm(plain)(x), plain(x))

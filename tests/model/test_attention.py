"""Cross-attention with shared keys and values against diffusers' own."""

import pytest
import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention
from hypothesis import given, settings
from hypothesis import strategies as st

from model.attention import SharedContextAttention, cross_attention_layers, folded
from tests.model.make import with_drawn_weights


@settings(deadline=None)
@given(st.integers(1, 3), st.integers(1, 4), st.integers(1, 5), st.integers(1, 6), st.integers(1, 3), st.integers(1, 4))
def test_members_that_share_keys_and_values_attend_as_if_each_had_its_own(
    images, members, places, tokens, repeats, heads
):
    layer = with_drawn_weights(
        Attention(query_dim=8, cross_attention_dim=3 * repeats, heads=heads, dim_head=4), seed=images
    )
    generator = torch.Generator().manual_seed(0)
    context = torch.randn(images, tokens, 3, generator=generator)
    hidden = torch.randn(images * members, places, 8, generator=generator)
    shared = SharedContextAttention(layer)
    with torch.no_grad():
        own = context.repeat(1, 1, repeats).repeat_interleave(members, 0)
        plain = layer(hidden, encoder_hidden_states=own)
        shared.attend_to(context)
        torch.testing.assert_close(shared(layer, hidden), plain, rtol=0, atol=1e-4)


@given(st.integers(1, 5), st.integers(1, 4), st.integers(1, 16))
def test_a_folded_weight_does_to_a_vector_what_the_weight_does_to_its_repetitions(outputs, channels, repeats):
    weight = torch.randn(outputs, channels * repeats, generator=torch.Generator().manual_seed(repeats))
    x = torch.randn(channels, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(folded(weight, channels) @ x, weight @ x.repeat(repeats), rtol=0, atol=1e-4)


def test_a_weight_is_folded_in_single_precision():
    weight = torch.full((1, 16), 1 / 3).bfloat16()
    weight[0, 0] = 100
    assert folded(weight, 1) == weight.float().sum().bfloat16()


def test_the_cross_attention_layers_of_a_unet_are_found(tiny):
    layers = cross_attention_layers(tiny.unet)
    names = [name for name, layer in tiny.unet.named_modules() if any(layer is found for found in layers)]
    assert len(names) == len(layers) > 0
    assert all(name.endswith("attn2") for name in names)


def test_cross_attention_of_another_kind_is_refused_with_its_name():
    unet = UNet2DConditionModel(
        in_channels=8,
        out_channels=4,
        block_out_channels=(8,),
        down_block_types=("CrossAttnDownBlock2D",),
        up_block_types=("UpBlock2D",),
        mid_block_type=None,
        layers_per_block=1,
        norm_num_groups=4,
        cross_attention_dim=8,
        attention_head_dim=4,
        cross_attention_norm="layer_norm",
    )
    for layer in unet.modules():
        if isinstance(layer, Attention) and layer.is_cross_attention:
            layer.norm_cross = torch.nn.LayerNorm(8)
    with pytest.raises(
        ValueError, match=r"unet layer down_blocks\.0\S+attn2 has \['norm_cross'\]; members can't share"
    ):
        cross_attention_layers(unet)

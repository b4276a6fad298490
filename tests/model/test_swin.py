"""Swin layers of any size: as timm's on whole patches and windows, elsewhere as timm's on what zeros fill up."""

import math
from functools import partial

import pytest
import timm
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from timm.models.swin_transformer import SwinTransformerBlock
from torch.nn import functional

from model.conditioner import SaliencyConditioner
from model.swin import PaddedSwinBlock, take_any_size

WINDOW, CHANNELS = 12, 8
SHIFTS = [0, WINDOW // 2]

few = settings(deadline=None, max_examples=15)


def make_block(kind, shift=WINDOW // 2, seed=0):
    """A block with weights that matter; those of one seed are equal."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        block = kind(
            CHANNELS,
            input_resolution=(48, 48),
            num_heads=2,
            window_size=WINDOW,
            shift_size=shift,
            always_partition=True,
            dynamic_mask=True,
        )
        torch.nn.init.normal_(block.attn.relative_position_bias_table)
    return block.eval().requires_grad_(False)


def make_feature_map(height, width, batch=1):
    return torch.randn(batch, height, width, CHANNELS, generator=torch.Generator().manual_seed(height * 100 + width))


def timm_on_padded(shift, x):
    """The definition: timm's attention on the normed map, filled up with zeros to whole windows first, then cut."""
    block, (_, height, width, _) = make_block(SwinTransformerBlock, shift), x.shape
    below, beside = (math.ceil(side / WINDOW) * WINDOW - side for side in (height, width))
    padded = functional.pad(block.norm1(x), (0, 0, 0, beside, 0, below))
    x = x + block._attn(padded)[:, :height, :width]
    return x + block.mlp(block.norm2(x))


# Properties


@few
@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 2), st.sampled_from(SHIFTS))
@torch.no_grad()
def test_on_whole_windows_a_block_is_timms(rows, columns, batch, shift):
    x = make_feature_map(rows * WINDOW, columns * WINDOW, batch)
    ours, timms = (make_block(kind, shift)(x) for kind in (PaddedSwinBlock, SwinTransformerBlock))
    assert torch.equal(ours, timms)


@few
@given(st.integers(1, 30), st.integers(1, 30), st.integers(1, 2), st.sampled_from(SHIFTS))
@example(13, 17, 1, WINDOW // 2)  # filled up to 24 x 24
@example(12, 13, 1, WINDOW // 2)  # to one side only
@example(13, 12, 1, WINDOW // 2)
@torch.no_grad()
def test_on_any_map_a_block_is_timms_on_the_map_filled_up_with_zeros(height, width, batch, shift):
    x = make_feature_map(height, width, batch)
    torch.testing.assert_close(make_block(PaddedSwinBlock, shift)(x), timm_on_padded(shift, x), rtol=0, atol=1e-5)


# Examples


@torch.no_grad()
def test_timms_own_block_is_another_one_where_it_shifts_a_map_that_is_no_whole_windows():
    x = make_feature_map(13, 17)
    apart = {
        shift: make_block(PaddedSwinBlock, shift)(x) - make_block(SwinTransformerBlock, shift)(x) for shift in SHIFTS
    }
    assert apart[0].abs().max() == 0
    assert apart[WINDOW // 2].abs().max() > 0.01


@pytest.fixture(scope="module")
def conditioner():
    """Windows of 12 as in the official branch, in the smallest Swin; weights of seed 0."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = SaliencyConditioner(
            backbone_name="swin_tiny_patch4_window7_224",
            backbone_args={
                "img_size": 384,
                "window_size": WINDOW,
                "dynamic_img_size": True,
                "always_partition": True,
                "embed_dim": 8,
                "depths": [2, 2, 2, 2],
                "num_heads": [1, 2, 4, 8],
            },
            feature_channels=8,
            normalise_features=True,
        )
    return made.eval().requires_grad_(False)


def test_every_block_of_a_backbone_pads_first_and_none_is_changed_otherwise(conditioner):
    blocks = [block for block in conditioner.backbone.modules() if isinstance(block, SwinTransformerBlock)]
    assert len(blocks) == 8
    assert {type(block) for block in blocks} == {PaddedSwinBlock}
    take_any_size(conditioner.backbone)  # once more does no harm
    assert {type(block) for block in blocks} == {PaddedSwinBlock}


@pytest.mark.parametrize(
    ("height", "width"),
    [(384, 384), (448, 448), (64, 64), (64, 448), (320, 192), (96, 32), (100, 100), (400, 33), (31, 8), (1, 1)],
)
@torch.no_grad()
def test_a_swin_conditioner_takes_every_size(conditioner, height, width):
    images = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0))
    conditioning = conditioner(images)
    assert conditioning.features.shape == (1, 8, math.ceil(height / 8), math.ceil(width / 8))
    assert conditioning.features.isfinite().all()


@pytest.mark.parametrize(("height", "width"), [(100, 100), (33, 62), (399, 1)])
@torch.no_grad()
def test_an_image_is_filled_up_to_whole_patches_with_zeros_below_and_beside(conditioner, height, width):
    image = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0))
    filled = functional.pad(image, (0, -width % 4, 0, -height % 4))
    assert all(map(torch.equal, conditioner.backbone(image), conditioner.backbone(filled)))


@torch.no_grad()
def test_a_backbone_made_for_one_size_takes_others_and_its_own_as_before():
    arguments = {"img_size": 96, "embed_dim": 8, "depths": [2] * 4, "num_heads": [1] * 4, "window_size": 6}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        strict = timm.create_model("swin_tiny_patch4_window7_224", features_only=True, **arguments).eval()
    images = {side: torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0)) for side in (96, 100)}
    before = strict(images[96])
    with pytest.raises(AssertionError, match="doesn't match model"):
        strict(images[100])
    take_any_size(strict)
    assert all(map(torch.equal, strict(images[96]), before))
    assert strict(images[100])[0].shape[1:3] == (25, 25)


@torch.no_grad()
def test_padding_matters_at_other_sizes_and_not_at_384(conditioner, monkeypatch):
    images = {side: torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0)) for side in (384, 448)}
    features = {side: partial(conditioner.backbone, pixels) for side, pixels in images.items()}
    ours = {side: compute() for side, compute in features.items()}
    monkeypatch.setattr(PaddedSwinBlock, "_attn", SwinTransformerBlock._attn)
    equal = {side: all(map(torch.equal, ours[side], compute())) for side, compute in features.items()}
    assert equal == {384: True, 448: False}

"""A tiny pipeline of the real classes, and one thread for all tests."""

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel

from model.conditioner import SaliencyConditioner
from model.diffusion import SODDiffusionPipeline
from tests.golden.branch import reference_branch

TINY_PX = 64
"""Processing resolution of the tiny pipeline: latents of 8 x 8, the coarsest feature map 2 x 2."""


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny():
    """The tiny pipeline in evaluation mode, seed 0, shared by all tests, which must not change it."""
    return build_tiny()


@pytest.fixture
def own_tiny():
    """A tiny pipeline for one test, which may change it."""
    return build_tiny()


@pytest.fixture(scope="session")
def tiny_folder(tiny, tmp_path_factory):
    """Folder of the saved tiny pipeline; tests must not change it."""
    folder = tmp_path_factory.mktemp("tiny")
    tiny.save_pretrained(folder)
    return folder


def build_tiny():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        unet = UNet2DConditionModel(
            sample_size=8,
            in_channels=8,
            out_channels=4,
            block_out_channels=(32, 64),
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            layers_per_block=1,
            attention_head_dim=4,
            norm_num_groups=8,
            cross_attention_dim=64,
            use_linear_projection=True,
        )
        vae = AutoencoderKL(
            block_out_channels=(8, 8, 16, 16),
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            layers_per_block=1,
            latent_channels=4,
            norm_num_groups=4,
            sample_size=TINY_PX,
        )
        conditioner = SaliencyConditioner(
            backbone_name="test_efficientnet", feature_channels=32, context_repeats=2, position_code=True
        )
    _make_the_image_matter(unet, conditioner)
    scheduler = DDIMScheduler(
        beta_schedule="scaled_linear",
        beta_start=0.00085,
        beta_end=0.012,
        prediction_type="v_prediction",
        clip_sample=False,
        timestep_spacing="trailing",
        rescale_betas_zero_snr=True,
    )
    pipeline = SODDiffusionPipeline(vae, unet, scheduler, conditioner, default_processing_res=TINY_PX)
    for module in (unet, vae, conditioner):
        module.eval().requires_grad_(False)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@torch.no_grad()
def _make_the_image_matter(unet, conditioner):
    """Fresh weights let hardly anything of an image through the conditioner and the cross-attention."""
    for name, weight in [*unet.named_parameters(), *conditioner.named_parameters()]:
        if "attn2.to_out.0.weight" in name:
            weight *= 10
        elif name.endswith("gamma"):
            weight.fill_(0.5)
        elif name == "decoder.refine.2.bn.weight":
            weight *= 300


@pytest.fixture(scope="session")
def branch():
    """The reference's Swin-B branch in our classes, weights by formula; tests must not change it."""
    return reference_branch()


@pytest.fixture(scope="session")
def image_of():
    """Makes an RGB image whose values are a formula of its size and number."""
    return _image_of


def _image_of(height, width, number=0):
    rows, columns, channels = np.indices((height, width, 3))
    return ((rows * (3 + number) + columns * 7 + channels * 50 + number * 90) % 256).astype(np.uint8)

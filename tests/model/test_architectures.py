"""The two sizes: parameters, channels and noise schedule; `full` without memory for its weights."""

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler

from model.architectures import build_pipeline


@pytest.fixture(scope="module")
def full():
    with torch.device("meta"):
        return build_pipeline("full")


@pytest.fixture(scope="module")
def nano():
    return build_pipeline("nano")


def parameters_of(network):
    return sum(parameter.numel() for parameter in network.parameters())


def test_full_is_stable_diffusion_2_with_8_input_channels_and_swin_b(full):
    # Stable Diffusion 2's own numbers; in the UNet four more inputs of 3 x 3 for 320 outputs.
    assert parameters_of(full.unet) == 865_910_724 + 4 * 9 * 320
    assert parameters_of(full.vae) == 83_653_863
    # The official branch has 90.7 M with the modules that its inference never uses.
    assert parameters_of(full.conditioner) == 88_929_996
    assert full.unet.conv_in.in_channels == 8


def test_nano_has_fewer_than_12_million_parameters(nano):
    total = sum(parameters_of(network) for network in (nano.unet, nano.vae, nano.conditioner))
    assert 1e6 < total < 12e6
    assert nano.unet.conv_in.in_channels == 8


@pytest.mark.parametrize("size", ["full", "nano"])
def test_context_tokens_fit_the_unet_and_latents_are_an_eighth(size, request):
    pipeline = request.getfixturevalue(size)
    config = pipeline.conditioner.config
    channels = pipeline.conditioner.decoder.side.in_channels
    assert channels * config.context_repeats == pipeline.unet.config.cross_attention_dim
    assert pipeline.unet.config.sample_size * 8 == pipeline.default_processing_res
    assert pipeline.default_processing_res == {"full": 384, "nano": 192}[size]
    assert len(pipeline.vae.config.block_out_channels) == 4  # halved three times


def test_the_last_timestep_of_nano_is_pure_noise_and_its_velocity_the_latents_negated(nano):
    generator = torch.Generator().manual_seed(0)
    latents, noise = (torch.randn(2, 4, 3, 3, generator=generator) for _ in range(2))
    last = torch.tensor([999, 999])
    assert torch.equal(nano.scheduler.add_noise(latents, noise, last), noise)
    assert torch.equal(nano.scheduler.get_velocity(latents, noise, last), -latents)
    nano.scheduler.set_timesteps(10)
    assert nano.scheduler.timesteps[0] == 999


def test_full_has_the_schedule_of_stable_diffusion_2(full):
    scheduler = DDIMScheduler.from_config(full.scheduler.config)  # once more, with its numbers
    betas = np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
    np.testing.assert_allclose(scheduler.alphas_cumprod, np.cumprod(1 - betas), rtol=1e-4)
    assert scheduler.final_alpha_cumprod == scheduler.alphas_cumprod[0]
    scheduler.set_timesteps(10)
    assert scheduler.timesteps.tolist() == list(range(901, 0, -100))
    assert scheduler.config.prediction_type == "v_prediction"


@pytest.mark.parametrize("size", ["full", "nano"])
def test_every_schedule_is_that_of_a_1000_step_ddim_without_clipping(size, request):
    config = request.getfixturevalue(size).scheduler.config
    assert (config.num_train_timesteps, config.clip_sample, config.beta_schedule) == (1000, False, "scaled_linear")


def test_weights_follow_from_torchs_global_seed():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        one = build_pipeline("nano").unet.conv_in.weight
        torch.manual_seed(3)
        same = build_pipeline("nano").unet.conv_in.weight
        other = build_pipeline("nano").unet.conv_in.weight
    assert torch.equal(one, same)
    assert not torch.equal(one, other)

"""The inference form: equals diffusers' plain loop, is always removed again, waits for no device."""

import copy

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from model.cheaper_layers import MeanConv, MergedUpsample, SplitConv, WideGroupNorm
from tests.model.make import assert_equal, make_ensemble

LATENTS_ATOL = 5e-5
"""Of latents up to about 3, after at most 4 steps: 5e-6 was seen."""


def plain_loop(pipeline, latents, image_latents, context, steps):
    """The denoising loop as diffusers' pipelines write it: every member with its own copy of its image's tensors."""
    members = len(latents) // len(image_latents)
    image_latents, context = (x.repeat_interleave(members, 0) for x in (image_latents, context))
    pipeline.scheduler.set_timesteps(steps)
    for timestep in pipeline.scheduler.timesteps[:steps]:
        both = torch.cat([image_latents, latents], dim=1)
        output = pipeline.unet(both, timestep, encoder_hidden_states=context).sample
        latents = pipeline.scheduler.step(output, timestep, latents).prev_sample
    return latents


def conditioned(pipeline, images, members, latent_side=8, seed=0, more_px=0):
    """Latents of members, and latents, tokens and context of their images, which may not fill whole latents."""
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.rand(images, 3, 8 * latent_side + more_px, 8 * latent_side + more_px, generator=generator)
    latents = torch.randn(images * members, 4, latent_side, latent_side, generator=generator)
    conditioning = pipeline.conditioner(pixels)
    return latents, pipeline.encode(pixels), conditioning.tokens, conditioning.context


@settings(deadline=None, max_examples=6)
@given(st.integers(1, 3), st.integers(1, 3), st.sampled_from([4, 8, 12]), st.integers(1, 4), st.integers(0, 7))
@example(1, 2, 12, 2, 4)  # 100 px
@example(1, 2, 1, 1, 0)
@example(2, 1, 5, 1, 3)
def test_denoising_gives_what_the_plain_loop_gives(tiny, images, members, latent_side, steps, more_px):
    with torch.inference_mode():
        latents, image_latents, tokens, context = conditioned(tiny, images, members, latent_side, more_px=more_px)
        plain = plain_loop(tiny, latents, image_latents, context, steps)
        ours = tiny.denoise(latents, image_latents, tokens, steps)
        other = tiny.denoise(latents, image_latents, -tokens, steps)
    torch.testing.assert_close(ours, plain, rtol=0, atol=LATENTS_ATOL)
    assert (other - plain).abs().max() > 20 * LATENTS_ATOL  # the context matters


@settings(deadline=None, max_examples=4)
@given(st.integers(1, 3), st.sampled_from([4, 8, 12]))
def test_decoding_gives_the_mean_of_the_plain_decoders_channels(tiny, members, latent_side):
    latents = torch.randn(members, 4, latent_side, latent_side, generator=torch.Generator().manual_seed(members)) / 5
    with torch.inference_mode():
        plain = tiny.vae.decode(latents / tiny.vae.config.scaling_factor).sample.mean(1)
        ours = tiny.decode(latents)
    torch.testing.assert_close(ours, (plain.clamp(-1, 1) + 1) / 2, rtol=0, atol=1e-5)


def test_the_active_form_puts_the_cheaper_layers_into_the_networks(own_tiny):
    expected = {SplitConv: 1, MeanConv: 1, MergedUpsample: 4}
    with own_tiny.inference_form.active(), own_tiny.inference_form.active():
        assert kinds(own_tiny) == expected
    assert kinds(own_tiny) == dict.fromkeys(expected, 0)


def test_the_active_form_widens_every_norm_of_unet_and_decoder(own_tiny):
    networks = [own_tiny.unet, own_tiny.vae.decoder]
    norms = sum(isinstance(module, torch.nn.GroupNorm) for network in networks for module in network.modules())
    with own_tiny.inference_form.active():
        modules = [module for network in networks for module in network.modules()]
        assert sum(isinstance(module, WideGroupNorm) for module in modules) == norms > 0


def kinds(pipeline):
    modules = [*pipeline.unet.modules(), *pipeline.vae.modules()]
    return {kind: sum(isinstance(module, kind) for module in modules) for kind in (SplitConv, MeanConv, MergedUpsample)}


@pytest.mark.parametrize("fails", [False, True])
def test_the_form_leaves_no_trace(own_tiny, monkeypatch, fails):
    before = copy.deepcopy(own_tiny.unet.state_dict()), copy.deepcopy(own_tiny.vae.state_dict())
    processors = dict(own_tiny.unet.attn_processors)
    layers = [list(network.named_modules()) for network in (own_tiny.unet, own_tiny.vae)]
    if fails:
        monkeypatch.setattr(own_tiny.unet.conv_out, "forward", raise_an_error)
    with torch.inference_mode():
        latents, image_latents, tokens, _ = conditioned(own_tiny, 1, 2)
        try:
            own_tiny.decode(own_tiny.denoise(latents, image_latents, tokens, 1))
        except ArithmeticError:
            assert fails
        else:
            assert not fails
    assert [list(network.named_modules()) for network in (own_tiny.unet, own_tiny.vae)] == layers
    assert own_tiny.unet.attn_processors == processors
    for network, state in zip((own_tiny.unet, own_tiny.vae), before, strict=True):
        after = network.state_dict()
        assert list(after) == list(state)
        assert all(torch.equal(after[name], state[name]) for name in state)


def raise_an_error(*_):
    raise ArithmeticError


def test_weights_trained_further_are_used(own_tiny):
    with torch.inference_mode():
        latents, image_latents, tokens, context = conditioned(own_tiny, 1, 2)
        own_tiny.denoise(latents, image_latents, tokens, 2)
    with torch.no_grad():
        for weight in own_tiny.unet.parameters():
            weight.data.mul_(1.1)  # as moving averages are swapped in: no counter of torch's tells
    with torch.inference_mode():
        plain = plain_loop(own_tiny, latents, image_latents, context, 2)
        ours = own_tiny.denoise(latents, image_latents, tokens, 2)
    torch.testing.assert_close(ours, plain, rtol=0, atol=LATENTS_ATOL)


def test_another_unet_gets_its_own_form(own_tiny):
    with torch.inference_mode():
        latents, image_latents, tokens, context = conditioned(own_tiny, 1, 2)
        before = own_tiny.denoise(latents, image_latents, tokens, 1)
        own_tiny.unet = copy.deepcopy(own_tiny.unet)
        own_tiny.unet.conv_out.weight.mul_(2)
        after = own_tiny.denoise(latents, image_latents, tokens, 1)
        torch.testing.assert_close(
            after, plain_loop(own_tiny, latents, image_latents, context, 1), rtol=0, atol=LATENTS_ATOL
        )
    assert not torch.equal(before, after)


def test_the_loop_waits_for_no_device(own_tiny):
    """On torch's device without values, whatever asks for a value raises; on a GPU it would wait for one."""
    own_tiny.unet.to("meta")
    own_tiny.vae.to("meta")
    with torch.inference_mode():
        latents, image_latents, tokens = (
            torch.empty(shape, device="meta") for shape in ((6, 4, 8, 8), (2, 4, 8, 8), (2, 64, 32))
        )
        denoised = own_tiny.denoise(latents, image_latents, tokens, 3)
        decoded = own_tiny.decode(denoised)
    assert (denoised.shape, decoded.shape) == ((6, 4, 8, 8), (6, 64, 64))
    with pytest.raises(RuntimeError, match="meta"):
        denoised.sum().item()


def test_a_block_that_ends_badly_spoils_no_later_prediction(own_tiny, image_of, monkeypatch):
    """As where memory runs out while layers are put back."""
    arguments = [image_of(20, 30)], ["7"], make_ensemble()
    (expected,) = own_tiny.predict(*arguments)

    def fails():
        raise torch.OutOfMemoryError("CUDA out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(own_tiny.inference_form._slots[0].cheaper, "free", fails)
        with pytest.raises(torch.OutOfMemoryError):
            own_tiny.predict(*arguments)
    assert_equal(own_tiny.predict(*arguments)[0], expected)

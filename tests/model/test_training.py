"""Properties, examples and faults of losses, noise and moving averages."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from model.architectures import build_pipeline
from model.conditioner import Conditioning, SaliencyConditioner
from model.config import LossConfig
from model.training import (
    EDGE_WEIGHT,
    KL_WEIGHT,
    MovingAverage,
    auxiliary_loss,
    diffusion_loss,
    draw_timesteps,
    load_backbone_in_order,
    multires_noise,
    side_loss,
    standardise_latents,
    stretched,
    vae_loss,
)

few = settings(deadline=None, max_examples=25)
seeds = st.integers(0, 2**63 - 1)
copies = st.sampled_from(["reference", "geometric"])
draws = st.sampled_from(["even", "rounded"])
shapes = st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(2, 24), st.integers(1, 24))


def gen(seed=0):
    return torch.Generator().manual_seed(seed)


def discs(count, side=64):
    """Masks [B, 1, side, side]: the n-th is a disc whose place and radius follow from n."""
    places = torch.arange(side) / side
    rows, columns = places[:, None], places[None, :]
    masks = [(rows - 0.4 - 0.1 * n) ** 2 + (columns - 0.5) ** 2 < (0.2 + 0.05 * n) ** 2 for n in range(count)]
    return torch.stack(masks)[:, None].float()


def trained(parameters, loss_of, steps, rate):
    """The losses of so many Adam steps on one batch; the noise of a step is that of every other."""
    parameters = [parameter.requires_grad_(True) for parameter in parameters]
    optimiser = torch.optim.Adam(parameters, lr=rate)
    losses = []
    for _ in range(steps):
        loss = loss_of()
        losses.append(loss.item())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return losses


# Noise and timesteps


@few
@given(shapes, seeds, copies)
def test_multires_noise_has_a_standard_deviation_of_1_and_follows_from_the_generator(shape, seed, copies):
    noise = multires_noise(shape, gen(seed), copies=copies)
    assert noise.shape == shape
    assert noise.std().item() == pytest.approx(1, abs=1e-4)
    assert torch.equal(noise, multires_noise(shape, gen(seed), copies=copies))
    assert not torch.equal(noise, multires_noise(shape, gen(seed ^ 1), copies=copies))


@few
@given(shapes, seeds, st.sampled_from([{"iterations": 0}, {"copies": "geometric", "discount": 0.0}]))
def test_without_coarse_copies_multires_noise_is_white(shape, seed, without):
    white = torch.randn(shape, generator=gen(seed))
    torch.testing.assert_close(multires_noise(shape, gen(seed), **without), white / white.std())


@few
@given(shapes, seeds, st.integers(0, 7), st.floats(0, 1))
def test_the_noise_is_that_of_the_common_pyramid_loop(shape, seed, iterations, discount):
    generator = gen(seed)
    batch, channels, full_height, full_width = shape
    noise = torch.randn(shape, generator=generator)
    height, width = full_height, full_width
    for i in range(iterations):
        r = torch.rand((), generator=generator).item() * 2 + 2
        height, width = max(1, int(height / r**i)), max(1, int(width / r**i))
        copy = torch.randn(batch, channels, height, width, generator=generator)
        noise = noise + nn.Upsample(size=(full_height, full_width), mode="bilinear")(copy) * discount**i
        if height == 1 or width == 1:
            break
    found = multires_noise(shape, gen(seed), iterations=iterations, discount=discount)
    torch.testing.assert_close(found, noise / noise.std(), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("copies", "mean_power", "first_power"), [("reference", 7.72, 1.55), ("geometric", 3.72, 2.32)]
)
def test_the_power_of_the_largest_scales_is_that_measured_with_each_kind_of_copies(copies, mean_power, first_power):
    """Of the map's mean, and of waves that fit once into it (white noise: 1), for latents of 384 px."""
    side = 48
    noise = torch.cat([multires_noise((4, 4, side, side), gen(seed), copies=copies) for seed in range(300)])
    power = (torch.fft.fft2(noise).abs() ** 2 / side**2).mean((0, 1))
    first = [power[row, column] for row in (-1, 0, 1) for column in (-1, 0, 1) if (row, column) != (0, 0)]
    assert power[0, 0].item() == pytest.approx(mean_power, rel=0.1)
    assert torch.stack(first).mean().item() == pytest.approx(first_power, rel=0.05)


@pytest.mark.parametrize("seed", range(4))
def test_multires_noise_has_more_energy_in_low_frequencies_than_white_noise(seed):
    def low_share(noise):
        energy = torch.fft.fft2(noise).abs() ** 2
        return (energy[..., :3, :3].sum() / energy.sum()).item()

    white = low_share(torch.randn(8, 4, 32, 32, generator=gen(seed)))
    assert white == pytest.approx(9 / 32**2, rel=0.2)
    assert low_share(multires_noise((8, 4, 32, 32), gen(seed), copies="geometric")) > 1.4 * white
    assert low_share(multires_noise((8, 4, 32, 32), gen(seed), copies="geometric", discount=0.9)) > 5 * white


@few
@given(st.integers(1, 50), seeds, st.floats(0.01, 3), draws)
def test_timesteps_lie_in_the_schedule_and_follow_from_the_generator(count, seed, exponent, draw):
    timesteps = draw_timesteps(count, gen(seed), exponent=exponent, draw=draw)
    assert timesteps.shape == (count,)
    assert timesteps.dtype == torch.int64
    assert timesteps.min() >= 0
    assert timesteps.max() <= 999
    assert torch.equal(timesteps, draw_timesteps(count, gen(seed), exponent=exponent, draw=draw))


@pytest.mark.parametrize("draw", ["even", "rounded"])
def test_both_ends_of_the_schedule_are_drawn(draw):
    assert draw_timesteps(1000, gen(), exponent=0.01, draw=draw).max() == 999
    assert draw_timesteps(1000, gen(), exponent=30.0, draw=draw).min() == 0


def test_an_exponent_next_to_0_gives_the_last_timestep_and_none_beyond():
    assert draw_timesteps(1000, gen(), exponent=1e-9).unique().tolist() == [999]


@pytest.mark.parametrize(("draw", "exponent", "of_the_ends"), [("even", 1.0, 1), ("rounded", 1.0, 0.5)])
def test_every_timestep_is_as_frequent_as_any_other_and_the_ends_half_as_frequent_if_rounded(
    draw, exponent, of_the_ends
):
    each = 4000  # a standard deviation of 1.6 %
    counts = draw_timesteps(1000 * each, gen(), exponent=exponent, draw=draw).bincount(minlength=1000) / each
    for end in (0, 999):
        assert counts[end].item() == pytest.approx(of_the_ends, abs=0.08)
    assert counts[1:999].min() > 0.92
    assert counts[1:999].max() < 1.08


@pytest.mark.parametrize("draw", ["even", "rounded"])
@pytest.mark.parametrize("exponent", [0.6, 1.0])
def test_an_exponent_below_1_leans_towards_noise(exponent, draw):
    mean = draw_timesteps(20_000, gen(), exponent=exponent, draw=draw).float().mean().item()
    assert mean == pytest.approx(999 / (1 + exponent), rel=0.02)  # the mean of u^exponent


# Losses: what they are


def conditioning_of(logits):
    count = len(logits)
    return Conditioning(
        features=torch.zeros(count, 2, 8, 8), side_logits=logits, tokens=torch.zeros(count, 64, 2), repeats=1
    )


@torch.no_grad()
def test_the_vae_loss_adds_pixels_edges_and_a_little_of_the_posterior(own_tiny, monkeypatch):
    pixels = discs(2).expand(-1, 3, -1, -1) * 2 - 1
    stripes = torch.arange(64) % 2 * 2.0 - 1  # between neighbours in a row: 2
    kl = own_tiny.vae.encode(pixels).latent_dist.kl().mean().item()
    for error, reconstruction, edges in ((0.0, 0.0, 0.0), (0.3, 0.3, 0.0), (0.3 * stripes, 0.3, 0.6)):
        decoded = SimpleNamespace(sample=pixels + error)
        monkeypatch.setattr(own_tiny.vae, "decode", lambda latents, decoded=decoded: decoded)
        loss = vae_loss(own_tiny.vae, pixels, gen()).item()
        assert loss == pytest.approx(reconstruction + EDGE_WEIGHT * edges + KL_WEIGHT * kl, rel=1e-5)
        assert loss > reconstruction + edges


@few
@given(st.integers(1, 3), seeds)
def test_the_side_loss_is_least_for_the_mask_itself(count, seed):
    masks = (torch.rand(count, 1, 8, 8, generator=gen(seed)) > 0.5).float()
    sure, wrong = (40 * sign * (masks * 2 - 1) for sign in (1, -1))
    unsure = torch.zeros_like(masks)
    right_loss, unsure_loss, wrong_loss = (side_loss(conditioning_of(x), masks) for x in (sure, unsure, wrong))
    assert 0 <= right_loss < 1e-3 < unsure_loss < wrong_loss


@pytest.mark.parametrize("level", [0.0, 1.0])
def test_the_side_loss_of_an_unsure_guess_of_a_plain_mask_is_known(level):
    masks = torch.full((1, 1, 64, 64), level)
    area, shared = 64 * 64, 0.5 * level * 64 * 64
    union = 0.5 * area + level * area - shared
    expected = np.log(2) + 1 - (shared + 1) / (union + 1)
    assert side_loss(conditioning_of(torch.zeros(1, 1, 8, 8)), masks).item() == pytest.approx(expected, rel=1e-5)


def test_the_side_loss_compares_at_the_size_of_the_masks():
    logits = torch.zeros(1, 1, 8, 8)
    fine = torch.zeros(1, 1, 64, 64)
    fine[..., ::2] = 1  # stripes that a mask of 8 x 8 could not tell from grey
    grey = torch.full((1, 1, 8, 8), 0.5)
    assert side_loss(conditioning_of(logits + 3), fine) > side_loss(conditioning_of(logits + 3), grey)


@few
@given(st.floats(0, 1), st.integers(1, 4))
def test_the_auxiliary_loss_compares_with_the_mask_in_minus_1_to_1(level, outputs):
    head = nn.Conv2d(5, outputs, 3, padding=1)
    nn.init.zeros_(head.weight)
    nn.init.constant_(head.bias, 2 * level - 1)
    loss = auxiliary_loss(head, torch.rand(2, 5, 4, 4), torch.full((2, 1, 32, 32), level))
    assert loss.item() == pytest.approx(0, abs=1e-10)
    nn.init.constant_(head.bias, 2 * level)
    loss = auxiliary_loss(head, torch.rand(2, 5, 4, 4), torch.full((2, 1, 32, 32), level))
    assert loss.item() == pytest.approx(1, rel=1e-4)


@pytest.mark.parametrize(
    ("resize", "seen"), [("bilinear", [0, 0, 0, 1, 1, 0, 0, 0]), ("area", [1, 1, 1, 1, 1, 1, 1, 1])]
)
def test_the_auxiliary_target_is_the_mask_at_an_eighth_seen_by_the_configured_pixels(resize, seen):
    """Each row or column of an 8 x 8 cell alone is white; `seen` says which of them change the target."""
    head = nn.Conv2d(2, 1, 3, padding=1)
    nn.init.zeros_(head.weight)
    nn.init.constant_(head.bias, -1)
    for place in range(8):
        masks = torch.zeros(1, 1, 32, 32)
        masks[:, :, place::8] = 1
        for picture in (masks, masks.mT):
            loss = auxiliary_loss(head, torch.zeros(1, 2, 4, 4), picture, resize).item()
            share = seen[place] / sum(seen)  # of white in the target, which lies in [-1, 1]
            assert loss == pytest.approx((2 * share) ** 2, abs=1e-6)


@few
@given(st.lists(st.floats(0, 1, width=32), min_size=2, max_size=6))
def test_a_batch_is_stretched_by_its_own_extremes(levels):
    masks = torch.tensor(levels).view(-1, 1, 1, 1).expand(-1, -1, 4, 4)
    low, high = min(levels), max(levels)
    expected = torch.tensor([(level - low) / (high - low + 1e-5) for level in levels])
    torch.testing.assert_close(stretched(masks)[:, 0, 0, 0], expected, rtol=1e-3, atol=1e-5)


def oracle_of(scheduler, answer, error=0.0):
    """A UNet that knows the latents and so the exact target, whatever the timestep and the noise; and adds `error`."""

    def unet(model_input, timesteps, encoder_hidden_states):
        alpha = scheduler.alphas_cumprod[timesteps].view(-1, 1, 1, 1)
        noise = (model_input[:, 4:] - alpha.sqrt() * answer) / (1 - alpha).sqrt()
        velocity = alpha.sqrt() * noise - (1 - alpha).sqrt() * answer
        target = noise if scheduler.config.prediction_type == "epsilon" else velocity
        return SimpleNamespace(sample=target + error)

    return unet


def with_scheduler(tiny, **overrides):
    scheduler = type(tiny.scheduler).from_config(tiny.scheduler.config, **overrides)
    return SimpleNamespace(scheduler=scheduler, unet=None)


def loss_with(stub, latents, seed=0):
    """`diffusion_loss` without its run-time type check: the stub stands in for a pipeline."""
    context = torch.zeros(len(latents), 1, 2)
    return diffusion_loss.__wrapped__(stub, latents, latents, context, gen(seed), LossConfig())


@few
@given(seeds, st.integers(1, 6), st.sampled_from(["v_prediction", "epsilon"]), st.floats(0.1, 2))
def test_the_diffusion_loss_is_the_squared_error_of_the_answer(tiny, seed, count, target, error):
    stub = with_scheduler(tiny, prediction_type=target)
    latents = torch.randn(count, 4, 6, 6, generator=gen(seed))
    stub.unet = oracle_of(stub.scheduler, latents)
    assert loss_with(stub, latents, seed).item() < 1e-6
    stub.unet = oracle_of(stub.scheduler, latents, error)
    assert loss_with(stub, latents, seed).item() == pytest.approx(error**2, rel=1e-2)


def test_at_the_last_timestep_of_zero_snr_the_unet_sees_no_mask_and_is_to_answer_it_negated(tiny, monkeypatch):
    seen = []

    def unet(model_input, timesteps, encoder_hidden_states):
        seen.append(model_input[:, 4:])
        return SimpleNamespace(sample=torch.zeros_like(model_input[:, 4:]))

    monkeypatch.setattr("model.training.draw_timesteps", lambda count, *_, **__: torch.full((count,), 999))
    stub = with_scheduler(tiny)
    stub.unet = unet
    latents = torch.randn(2, 4, 6, 6, generator=gen(1))
    loss = loss_with(stub, latents)
    assert torch.equal(seen[0], multires_noise(latents.shape, gen(0)))
    assert loss.item() == pytest.approx(latents.square().mean().item(), rel=1e-6)  # 0 against -latents


def test_a_prediction_type_that_cannot_be_trained_is_refused(tiny):
    stub = with_scheduler(tiny, prediction_type="sample")
    stub.unet = oracle_of(stub.scheduler, torch.zeros(1, 4, 2, 2))
    with pytest.raises(ValueError, match="prediction_type 'sample' can't be trained; use v_prediction or epsilon"):
        loss_with(stub, torch.zeros(1, 4, 2, 2))


# Losses: training brings them down


def test_the_vae_learns_one_batch(own_tiny):
    pixels = discs(2).expand(-1, 3, -1, -1) * 2 - 1
    vae = own_tiny.vae.train()
    losses = trained(vae.parameters(), lambda: vae_loss(vae, pixels, gen()), steps=12, rate=3e-3)
    assert losses[-1] < 0.7 * losses[0]


def test_the_conditioner_learns_one_batch_by_its_side_output(own_tiny):
    masks = discs(2)
    images = (masks * 0.5 + 0.2).expand(-1, 3, -1, -1).contiguous()
    conditioner = own_tiny.conditioner.train()
    losses = trained(conditioner.parameters(), lambda: side_loss(conditioner(images), masks), steps=8, rate=3e-3)
    assert losses[-1] < 0.6 * losses[0]


def test_the_conditioner_learns_one_batch_by_the_auxiliary_loss(own_tiny):
    masks = discs(2)
    images = (masks * 0.5 + 0.2).expand(-1, 3, -1, -1).contiguous()
    conditioner = own_tiny.conditioner.train()
    head = nn.Conv2d(32, 3, 3, padding=1)
    losses = trained(
        [*conditioner.parameters(), *head.parameters()],
        lambda: auxiliary_loss(head, conditioner(images).features, masks),
        steps=8,
        rate=3e-3,
    )
    assert losses[-1] < 0.6 * losses[0]


def test_the_unet_learns_one_batch(own_tiny):
    latents = torch.randn(4, 4, 8, 8, generator=gen(1))
    context = torch.randn(4, 64, 64, generator=gen(2))
    losses = trained(
        own_tiny.unet.train().parameters(),
        lambda: diffusion_loss(own_tiny, latents, latents, context, gen(3), LossConfig(timestep_exponent=0.6)),
        steps=12,
        rate=2e-3,
    )
    assert losses[-1] < 0.7 * losses[0]


# Latents


@torch.no_grad()
def test_standardised_latents_have_mean_0_and_std_1_and_decode_to_the_same_pixels(own_tiny):
    vae, factor = own_tiny.vae, own_tiny.vae.config.scaling_factor
    pixels = torch.rand(4, 3, 64, 64, generator=gen(1)) * 2 - 1
    before = vae.encode(pixels).latent_dist
    decoded = vae.decode(before.mean).sample
    mean, std = before.mean.mean((0, 2, 3)), before.mean.std((0, 2, 3), correction=0)
    assert (mean.abs() > 1e-3).all()  # so there is something to do

    standardise_latents(vae, mean, std)

    after = vae.encode(pixels).latent_dist
    scaled = factor * after.mean
    torch.testing.assert_close(scaled.mean((0, 2, 3)), torch.zeros(4), rtol=0, atol=1e-4)
    torch.testing.assert_close(scaled.std((0, 2, 3), correction=0), torch.ones(4), rtol=1e-4, atol=0)
    torch.testing.assert_close(vae.decode(after.mean).sample, decoded, rtol=0, atol=1e-4)
    torch.testing.assert_close(factor * after.std, before.std / std.view(1, 4, 1, 1), rtol=1e-4, atol=0)


@torch.no_grad()
def test_standardising_standard_latents_changes_nothing(own_tiny):
    factor = own_tiny.vae.config.scaling_factor
    before = {name: value.clone() for name, value in own_tiny.vae.state_dict().items()}
    standardise_latents(own_tiny.vae, torch.zeros(4), torch.full((4,), 1 / factor))
    for name, value in own_tiny.vae.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=1e-6, atol=1e-6)


# Moving average


@few
@given(st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=8), st.floats(0, 1))
@torch.no_grad()
def test_a_moving_average_is_its_formula_and_is_written_only_when_asked(weights, decay):
    parameters = [nn.Parameter(torch.full((2, 3), weights[0])), nn.Parameter(torch.zeros(1))]
    average, expected = MovingAverage(parameters, decay), weights[0]
    for step, weight in enumerate(weights[1:], start=1):
        parameters[0].fill_(weight)
        average.update(step)
        kept = min(decay, (step + 1) / (step + 10))
        expected = kept * expected + (1 - kept) * weight
    assert (parameters[0] == weights[-1]).all()
    average.write_to_model()
    np.testing.assert_allclose(parameters[0].numpy(), np.full((2, 3), expected), rtol=1e-5, atol=1e-3)
    assert parameters[1].item() == 0


@torch.no_grad()
def test_weights_written_from_an_average_may_be_trained_on_without_changing_it():
    parameter = nn.Parameter(torch.ones(2))
    average = MovingAverage([parameter], 0.5)
    parameter.fill_(3)
    average.update(1000)
    average.write_to_model()
    parameter.fill_(100)
    assert average.shadow[0].tolist() == [2, 2]


@torch.no_grad()
@pytest.mark.parametrize("steps", [20, 100, 284])
def test_little_is_left_of_untrained_weights_in_an_average_longer_than_the_training(steps):
    parameter = nn.Parameter(torch.ones(1))
    average = MovingAverage([parameter], 0.999)
    parameter.fill_(0)
    for step in range(1, steps + 1):
        average.update(step)
    assert average.shadow[0].item() < 1e-3


# Backbone weights


@pytest.fixture(scope="module")
def checkpoint():
    """A backbone's tensors under other names, in order, with a classifier behind them and without batch counters."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        source = SaliencyConditioner(backbone_name="test_efficientnet", feature_channels=16).backbone.state_dict()
    tensors = [value for name, value in source.items() if not name.endswith("num_batches_tracked")]
    return {f"layer.{number}": value for number, value in enumerate([*tensors, torch.zeros(10, 7)])}


@torch.no_grad()
def test_backbone_weights_are_copied_in_order(own_tiny, checkpoint):
    load_backbone_in_order(own_tiny.conditioner, {"first.num_batches_tracked": torch.tensor(5), **checkpoint})
    own = own_tiny.conditioner.backbone.state_dict()
    own = {name: value for name, value in own.items() if not name.endswith("num_batches_tracked")}
    assert len(own) == len(checkpoint) - 1
    for value, given_value in zip(own.values(), checkpoint.values(), strict=False):
        assert torch.equal(value, given_value)


def test_backbone_weights_of_another_shape_are_refused_with_both_names(own_tiny, checkpoint):
    name = "layer.3"
    with pytest.raises(ValueError, match=rf"^{name} is \(2, 2\), .*[a-z].* needs \("):
        load_backbone_in_order(own_tiny.conditioner, {**checkpoint, name: torch.zeros(2, 2)})


def test_too_few_backbone_weights_are_refused_with_their_number(own_tiny, checkpoint):
    needed = len(checkpoint) - 1
    given_tensors = dict(list(checkpoint.items())[: needed - 1])
    with pytest.raises(ValueError, match=f"^the checkpoint holds {needed - 1} tensors, the backbone needs {needed}$"):
        load_backbone_in_order(own_tiny.conditioner, given_tensors)


def test_the_nano_backbone_is_timms_so_that_its_checkpoints_fit():
    import timm

    whole = timm.create_model("tf_efficientnet_lite2", pretrained=False).state_dict()
    conditioner = build_pipeline("nano").conditioner
    load_backbone_in_order(conditioner, whole)
    own = conditioner.backbone.state_dict()
    for name, value in own.items():
        if not name.endswith("num_batches_tracked"):
            assert torch.equal(value, whole[name])

"""One step of the whole model: what learns, what stays, and losses that the seed determines."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from model.config import LossConfig
from model.fine_tuning import FineTuning
from tests.model.conftest import build_tiny

few = settings(max_examples=5, deadline=None)
seeds = st.integers(0, 2**63 - 1)


def make_batch(count=2, side=64):
    """Images in which bright discs stand, and the discs as masks."""
    places = torch.arange(side) / side
    discs = [(places[:, None] - 0.4) ** 2 + (places - 0.4 - 0.1 * n) ** 2 < (0.2 + 0.05 * n) ** 2 for n in range(count)]
    masks = torch.stack(discs)[:, None].float()
    return (masks * 0.7 + 0.1 * places).expand(-1, 3, -1, -1).clone(), masks


def make_networks(*, conditioner_learns=True, **losses):
    torch.manual_seed(0)
    return FineTuning(build_tiny(), LossConfig(**losses), conditioner_learns=conditioner_learns).train()


@pytest.fixture(scope="module")
def networks():
    """Shared by tests that take no step; the conditioner's batch norm keeps counting."""
    return make_networks()


def without_head(networks):
    """Let the auxiliary convolution answer 0 everywhere: its loss is then the mean square of its target."""
    nn.init.zeros_(networks.auxiliary_head.weight)
    nn.init.zeros_(networks.auxiliary_head.bias)
    return networks


def learn(networks, steps=1):
    optimiser = torch.optim.SGD(networks.parameters(), lr=1e-6)
    for step in range(steps):
        losses = networks(*make_batch(), step)
        optimiser.zero_grad()
        losses.total.backward()
        optimiser.step()
    return losses


def copied(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def changed(before, module):
    """Names of the weights and statistics that changed."""
    return {name for name, value in module.state_dict().items() if not torch.equal(value, before[name])}


def losses_of(networks, seed):
    torch.manual_seed(1)  # of stochastic depth, if there is any
    losses = networks(*make_batch(), seed)
    return losses.diffusion.item(), losses.auxiliary.item(), losses.total.item()


# Losses


@few
@given(seeds, seeds)
def test_the_losses_follow_from_the_seed_and_the_auxiliary_one_from_the_images_alone(networks, seed, other):
    first, again, second = losses_of(networks, seed), losses_of(networks, seed), losses_of(networks, other)
    assert first == again
    assert first[1] == second[1]
    assert (first[0] == second[0]) == (seed % 2**32 == other % 2**32)  # torch's generator uses the lower half


@few
@given(st.floats(0, 10))
def test_the_total_is_the_diffusion_loss_plus_the_weighted_auxiliary_one(networks, weight):
    networks.losses = LossConfig(auxiliary_weight=weight)
    diffusion, auxiliary, total = losses_of(networks, 5)
    assert total == pytest.approx(diffusion + weight * auxiliary, rel=1e-5)
    assert auxiliary > 0


def test_gradients_go_through_total_and_diffusion_and_not_through_the_reported_auxiliary_loss(networks):
    losses = networks(*make_batch(), 0)
    assert losses.total.requires_grad
    assert not losses.auxiliary.requires_grad


@pytest.mark.parametrize(("init", "deviation"), [("kaiming", 0.0589), ("torch", 0.0241)])
def test_the_auxiliary_convolution_begins_with_weights_of_the_configured_deviation(init, deviation):
    """Of the reference's 64 channels; the tiny conditioner has half as many."""
    weight = make_networks(auxiliary_init=init).auxiliary_head.weight
    assert weight.std().item() * (32 / 64) ** 0.5 == pytest.approx(deviation, rel=0.06)
    assert (weight.abs().max() > 1 / weight[0].numel() ** 0.5) == (init == "kaiming")


@pytest.mark.parametrize(("mask_range", "same"), [("batch", True), ("absolute", False)])
def test_masks_of_half_the_contrast_are_the_same_masks_only_if_the_batch_sets_the_range(mask_range, same):
    networks = without_head(make_networks(mask_range=mask_range))
    images, masks = make_batch()
    whole, half = (networks(images, values, 0).auxiliary.item() for values in (masks, 0.25 + masks / 2))
    assert half == pytest.approx(whole if same else whole / 4, rel=1e-3)


def test_the_auxiliary_target_is_resized_as_configured():
    for resize in ("bilinear", "area"):
        images, masks = make_batch()
        found = without_head(make_networks(auxiliary_resize=resize))(images, masks, 0).auxiliary.item()
        eighth = nn.functional.interpolate(masks * 2 - 1, scale_factor=1 / 8, mode=resize)
        assert found == pytest.approx(eighth.square().mean().item(), rel=1e-3)


# Who learns


def test_unet_conditioner_and_auxiliary_convolution_learn_and_the_vae_gets_no_gradient():
    networks = make_networks()
    vae = networks.pipeline.vae
    before = {part: copied(getattr(networks, part)) for part in ("unet", "conditioner", "auxiliary_head")}
    frozen = copied(vae)
    learn(networks)
    assert all(parameter.grad is None for parameter in vae.parameters())
    assert changed(frozen, vae) == set()
    assert not vae.training
    assert {part for part, weights in before.items() if changed(weights, getattr(networks, part))} == set(before)
    assert all(parameter.grad is not None for parameter in networks.unet.parameters())


def test_a_conditioner_that_does_not_learn_stays_as_it_is_statistics_included():
    networks = make_networks(conditioner_learns=False)
    before = copied(networks.conditioner)
    learn(networks, 2)
    assert changed(before, networks.conditioner) == set()
    assert all(parameter.grad is None for parameter in networks.conditioner.parameters())
    assert not any(module.training for module in networks.conditioner.modules())


def test_batch_norm_of_the_backbone_keeps_its_statistics_and_that_of_the_decoder_does_not():
    networks = make_networks()
    backbone = networks.pipeline.conditioner.backbone
    norms = [name for name, layer in backbone.named_modules() if isinstance(layer, nn.BatchNorm2d)]
    assert norms
    before, decoder = copied(backbone), copied(networks.pipeline.conditioner.decoder)
    learn(networks)
    moved = {name.rsplit(".", 1)[-1] for name in changed(before, backbone)}
    assert moved <= {"weight", "bias"}
    assert "weight" in moved
    assert any(name.endswith("running_mean") for name in changed(decoder, networks.pipeline.conditioner.decoder))


@pytest.mark.parametrize("learns", [True, False])
def test_evaluation_and_back_leave_the_same_layers_in_training(learns):
    networks = make_networks(conditioner_learns=learns)
    before = {name: module.training for name, module in networks.named_modules()}
    networks.eval()
    assert not any(module.training for module in networks.modules())
    networks.train()
    assert {name: module.training for name, module in networks.named_modules()} == before
    assert networks.unet.training


def test_without_weight_the_auxiliary_loss_moves_nothing():
    networks = make_networks(auxiliary_weight=0.0)
    networks(*make_batch(), 0).total.backward()
    assert networks.auxiliary_head.weight.grad.abs().max() == 0
    assert max(p.grad.abs().max() for p in networks.conditioner.parameters() if p.grad is not None) > 0

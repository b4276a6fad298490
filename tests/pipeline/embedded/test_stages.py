"""The stages, on a tiny pipeline: what each trains, what it leaves alone, what it keeps on disk."""

import pytest
import torch
from safetensors.torch import load_file

from model.training import draw_timesteps, multires_noise
from pipeline.embedded import stages
from pipeline.embedded.data import Pairs
from pipeline.embedded.loop import Schedule, step_generator
from pipeline.embedded.stages import (
    cache_latents,
    new_pipeline,
    train_conditioner,
    train_diffusion,
    train_ensemble,
    train_vae,
)
from pipeline.embedded.views import Folder, Views
from tests.devices import each_device
from tests.model.conftest import TINY_PX


def make_schedule(**overrides):
    return Schedule(
        **({"steps": 2, "batch": 2, "learning_rate": 1e-3, "warmup_steps": 1, "ema_decay": 0.5} | overrides)
    )


def copy_of(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def changed(before, module):
    return {name for name, value in module.state_dict().items() if not torch.equal(before[name], value)}


@pytest.fixture
def data(composites_folder, monkeypatch):
    monkeypatch.setattr(stages, "STATISTICS_MASKS", 8)
    monkeypatch.setattr(stages, "PART_VIEWS", 3)
    return Views([Folder(Pairs.open(composites_folder), 1.0)])


@pytest.fixture
def pipeline(tiny_pipeline):
    """In evaluation mode, as after training: batch norm uses the statistics that it has collected."""
    return tiny_pipeline(0)


@pytest.fixture
def nano():
    """The real architecture, in evaluation mode."""
    pipeline = new_pipeline(0, 256)
    for network in (pipeline.conditioner, pipeline.vae, pipeline.unet):
        network.eval()
    return pipeline


def cached_latents(count=4):
    shapes = {"image_latents": (4, 8, 8), "mask_latents": (4, 8, 8), "context": (64, 64)}
    generator = torch.Generator().manual_seed(0)
    return {name: torch.randn((count, *shape), generator=generator).half() for name, shape in shapes.items()}


def test_noise_and_timesteps_are_those_that_made_the_embedded_weights():
    """Drawn with the code of that time: other defaults of training must not change what this recipe makes."""
    generator = torch.Generator().manual_seed(7)
    losses = stages.DIFFUSION_LOSS
    noise = multires_noise(
        (1, 1, 8, 8),
        generator,
        iterations=losses.multires_noise_iterations,
        discount=losses.multires_noise_discount,
        copies=losses.multires_noise_copies,
    )
    timesteps = draw_timesteps(6, generator, exponent=losses.timestep_exponent, draw=losses.timestep_draw)
    assert noise.flatten()[:4].tolist() == pytest.approx([-0.7355112, 0.4291289, 0.9325621, -1.2284837], abs=1e-6)
    assert timesteps.tolist() == [880, 857, 681, 960, 316, 382]


def test_the_seed_decides_the_initial_weights(nano):
    before = copy_of(nano.unet)
    assert changed(before, new_pipeline(0, 256).unet) == set()
    assert changed(before, new_pipeline(1, 256).unet)


def test_the_conditioner_learns_but_its_backbones_statistics_stay(pipeline, data, tmp_path):
    before = copy_of(pipeline.conditioner)
    others = copy_of(pipeline.vae), copy_of(pipeline.unet)
    train_conditioner(pipeline, data, make_schedule(), tmp_path, seed=0)
    learnt = changed(before, pipeline.conditioner)
    assert {name.split(".")[0] for name in learnt} >= {"backbone", "encoders", "decoder"}
    assert not any("running" in name or "num_batches" in name for name in learnt if name.startswith("backbone."))
    assert (changed(others[0], pipeline.vae), changed(others[1], pipeline.unet)) == (set(), set())


def test_the_backbone_learns_more_slowly_than_what_is_new(nano, data, tmp_path):
    before = copy_of(nano.conditioner)
    train_conditioner(nano, data, make_schedule(steps=1, ema_decay=0.0), tmp_path, seed=0)
    after = nano.conditioner.state_dict()
    moved = {
        name: float((after[name] - before[name]).abs().max())
        for name, _ in nano.conditioner.named_parameters()
        if name.endswith("weight")
    }
    slow = max(distance for name, distance in moved.items() if name.startswith("backbone."))
    fast = max(distance for name, distance in moved.items() if not name.startswith("backbone."))
    assert slow == pytest.approx(1e-4, rel=0.1)
    assert fast == pytest.approx(1e-3, rel=0.1)


def test_the_vaes_latents_of_masks_are_standardised(pipeline, data, tmp_path):
    train_vae(pipeline, data, make_schedule(), tmp_path, seed=0)
    _, masks = data.draw(8, TINY_PX, torch.Generator().manual_seed(0))
    with torch.no_grad():
        latents = pipeline.encode((masks * 2 - 1).expand(-1, 3, -1, -1))
    assert latents.mean((0, 2, 3)).tolist() == pytest.approx([0] * 4, abs=1e-3)
    assert latents.std((0, 2, 3)).tolist() == pytest.approx([1] * 4, abs=1e-3)


def test_a_finished_vae_is_standardised_once_only(pipeline, tiny_pipeline, data, tmp_path):
    train_vae(pipeline, data, make_schedule(), tmp_path, seed=0)
    again = tiny_pipeline(1)
    train_vae(again, data, make_schedule(), tmp_path, seed=0)
    assert changed(copy_of(pipeline.vae), again.vae) == set()


def test_diffusion_trains_the_unet_alone(pipeline, tmp_path):
    before = copy_of(pipeline.unet)
    others = copy_of(pipeline.vae), copy_of(pipeline.conditioner)
    train_diffusion(pipeline, cached_latents(), make_schedule(), tmp_path, seed=0)
    assert len(changed(before, pipeline.unet)) > 100
    assert (changed(others[0], pipeline.vae), changed(others[1], pipeline.conditioner)) == (set(), set())


def test_the_last_stage_trains_all_but_the_vaes_encoder_and_the_backbones_statistics(pipeline, data, tmp_path):
    before = {name: copy_of(getattr(pipeline, name)) for name in ("conditioner", "unet", "vae")}
    train_ensemble(pipeline, data, make_schedule(), tmp_path, seed=0)
    learnt = {name: changed(before[name], getattr(pipeline, name)) for name in before}
    assert {name.split(".")[0] for name in learnt["vae"]} == {"post_quant_conv", "decoder"}
    assert len(learnt["unet"]) > 100
    assert {name.split(".")[0] for name in learnt["conditioner"]} >= {"backbone", "encoders", "decoder"}
    assert not any("running" in name for name in learnt["conditioner"] if name.startswith("backbone."))


@each_device
def test_every_stage_can_be_trained_on_every_device(pipeline, composites_folder, monkeypatch, tmp_path, device):
    monkeypatch.setattr(stages, "STATISTICS_MASKS", 8)
    data = Views([Folder(Pairs.open(composites_folder, device), 1.0)])
    pipeline.to(device)
    for train in (train_conditioner, train_vae, train_ensemble):
        train(pipeline, data, make_schedule(), tmp_path, seed=0)
    cached = cache_latents(pipeline, data, 3, tmp_path, seed=0)
    assert {value.device.type for value in cached.values()} == {device}
    train_diffusion(pipeline, cached, make_schedule(), tmp_path, seed=0)


@pytest.mark.parametrize("stage", ["conditioner", "vae", "diffusion", "ensemble"])
def test_a_stage_draws_nothing_from_the_global_generator(pipeline, data, tmp_path, stage):
    """What a resumed run would draw from it differs from what an uninterrupted one draws."""
    torch.manual_seed(7)
    before = torch.get_rng_state()
    if stage == "diffusion":
        train_diffusion(pipeline, cached_latents(), make_schedule(), tmp_path, seed=0)
    else:
        train = {"conditioner": train_conditioner, "vae": train_vae, "ensemble": train_ensemble}[stage]
        train(pipeline, data, make_schedule(), tmp_path, seed=0)
    assert torch.equal(torch.get_rng_state(), before)


def test_latents_are_cached_part_by_part_in_half_precision(nano, data, tmp_path):
    cached = cache_latents(nano, data, 5, tmp_path, seed=0)
    assert {name: (tuple(value.shape), value.dtype) for name, value in cached.items()} == {
        "image_latents": ((5, 4, 32, 32), torch.float16),
        "mask_latents": ((5, 4, 32, 32), torch.float16),
        "context": ((5, 1024, 64), torch.float16),
    }
    files = sorted(tmp_path.rglob("*.safetensors"))
    assert [file.name for file in files] == ["00000.safetensors", "00001.safetensors"]
    assert [len(load_file(file)["context"]) for file in files] == [3, 2]
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == files


def test_cached_latents_are_those_of_the_views_in_their_order(pipeline, data, tmp_path):
    cached = cache_latents(pipeline, data, 5, tmp_path, seed=7)
    images, masks = data.draw(2, TINY_PX, step_generator(7, "latents", 1))
    with torch.no_grad():
        expected = {
            "image_latents": pipeline.encode(images),
            "mask_latents": pipeline.encode((masks * 2 - 1).expand(-1, 3, -1, -1)),
            "context": pipeline.conditioner(images).context,
        }
    for name, values in expected.items():
        torch.testing.assert_close(cached[name][3:], values.half(), rtol=0, atol=1e-2)


def test_networks_in_channels_last_can_be_cached(pipeline, data, tmp_path):
    """As the recipe has them; safetensors refuses tensors that are not contiguous."""
    for network in (pipeline.vae, pipeline.conditioner):
        network.to(memory_format=torch.channels_last)
    assert all(value.is_contiguous() for value in cache_latents(pipeline, data, 8, tmp_path, seed=0).values())


def test_what_is_cached_is_not_encoded_again(pipeline, data, tmp_path, monkeypatch):
    first = cache_latents(pipeline, data, 8, tmp_path, seed=0)
    next(tmp_path.rglob("00002.safetensors")).unlink()
    encoded, encode_part = [], stages._encode_part
    monkeypatch.setattr(stages, "_encode_part", lambda *given: encoded.append(given[2]) or encode_part(*given))
    again = cache_latents(pipeline, data, 8, tmp_path, seed=0)
    assert encoded == [2]
    assert all(torch.equal(first[name], again[name]) for name in first)


def test_latents_of_other_weights_are_not_taken(pipeline, data, tmp_path):
    first = cache_latents(pipeline, data, 8, tmp_path, seed=0)
    with torch.no_grad():
        pipeline.vae.quant_conv.bias += 1
    again = cache_latents(pipeline, data, 8, tmp_path, seed=0)
    assert not torch.equal(first["image_latents"], again["image_latents"])

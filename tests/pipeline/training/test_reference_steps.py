"""Two optimiser steps of a training equal a plain implementation of the reference's formulas, written out here.

Files are read with Pillow, networks run by themselves, and nothing of `model/training.py`, `model/fine_tuning.py` or
`pipeline/training` is used but the seeds. The seeds' order of samples is ours, and so is frozen batch norm in the
backbone of the tiny conditioner; the reference's Swin-B has none.
"""

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional

from model.saliency import load_pipeline
from model.seeds import member_seed
from pipeline.training import trainer
from tests.pipeline.evaluation.make import save
from tests.pipeline.training.make import make_config, make_pairs, train_quietly

SIDE_PX, BATCH, STEPS = 64, 2, 2
DIGITS_7 = 5e-7
RATE, BETAS, EPSILON, DECAY = 3e-5, (0.9, 0.999), 1e-8, 1e-2


@pytest.fixture
def folder(tmp_path):
    """Pairs of another size than the processed one, whose masks have grey levels and no white."""
    make_pairs(tmp_path / "in", BATCH * STEPS, 50, 70)
    for number in range(BATCH * STEPS):
        path = tmp_path / "in/masks" / f"{number}.png"
        ramp = np.linspace(90, 230, 70).astype(np.uint8)
        save(path, np.where(np.asarray(Image.open(path)) > 0, ramp, np.uint8(4)))
    return tmp_path / "in"


@pytest.fixture
def _doubles(monkeypatch):
    """Let networks and batches have 64 bits: the tiny conditioner's large features lose digits in 32."""
    networks, start, batches = trainer.FineTuning, trainer.starting_weights, trainer.batches
    monkeypatch.setattr(trainer, "FineTuning", lambda *args, **options: networks(*args, **options).double())
    monkeypatch.setattr(trainer, "starting_weights", lambda config: start(config).to(torch.float64))
    monkeypatch.setattr(trainer, "batches", lambda *args: (tuple(x.double() for x in pair) for pair in batches(*args)))


@pytest.mark.usefixtures("every_step", "_doubles")
def test_two_steps_are_those_of_the_written_out_formulas(tmp_path, folder, tiny_weights):
    told = []
    config = make_config(folder, tiny_weights, tmp_path / "out", max_train_steps=STEPS, learning_rate=RATE)
    train_quietly(config, told.append)

    losses, networks = plain_training(folder, tiny_weights)
    for values, (total, diffusion, auxiliary) in zip(told, losses, strict=True):
        assert values["loss"] == pytest.approx(total, rel=DIGITS_7)
        assert values["loss_diffusion"] == pytest.approx(diffusion, rel=DIGITS_7)
        assert values["loss_auxiliary"] == pytest.approx(auxiliary, rel=DIGITS_7)
    moved, apart = set(), set()
    for name, network in networks.items():
        (file,) = (tmp_path / "out/model" / name).glob("*.safetensors")
        (start,) = (tiny_weights / name).glob("*.safetensors")
        before, found = load_file(start), load_file(file)
        for key, value in network.named_parameters():
            if not torch.equal(found[key], before[key]):
                moved.add(key)
            if not torch.allclose(found[key].double(), value, rtol=DIGITS_7, atol=RATE / 1000):
                apart.add(key)
    assert len(moved) > 100
    assert apart <= {"backbone.blocks.4.0.bn3.bias"}  # batch norms follow: rounding alone makes its gradient


def plain_training(folder, weights):
    """Total, diffusion and auxiliary loss of each step; and the trained networks."""
    pipeline = load_pipeline(weights).to(torch.float64)
    vae, unet, conditioner = pipeline.vae, pipeline.unet.train(), pipeline.conditioner.train()
    for layer in conditioner.backbone.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.eval()
    torch.manual_seed(0)
    head = nn.Conv2d(conditioner.config.feature_channels, 3, kernel_size=3, stride=1, padding=1)
    nn.init.kaiming_normal_(head.weight)
    head.double()
    parameters = [p.requires_grad_() for network in (unet, conditioner, head) for p in network.parameters()]
    first, second = ([torch.zeros_like(p) for p in parameters] for _ in range(2))
    order = np.random.default_rng(member_seed(0, "epoch", 0)).permutation(BATCH * STEPS)
    alphas = pipeline.scheduler.alphas_cumprod.double()
    losses = []
    for step in range(STEPS):
        images, masks = read(folder, order[step * BATCH : (step + 1) * BATCH])
        masks = ((masks - masks.min()) / (masks.max() - masks.min() + 1e-5) - 0.5) * 2
        with torch.no_grad():
            image_latents, mask_latents = (
                vae.quant_conv(vae.encoder(pixels)).chunk(2, 1)[0] * 0.18215
                for pixels in (images, masks.repeat(1, 3, 1, 1))
            )
        seed = member_seed(0, "noise/0", step)
        torch.manual_seed(seed)  # for stochastic depth, if the backbone has any
        generator = torch.Generator().manual_seed(seed)
        noise = pyramid_noise(mask_latents.shape, generator).double()
        timesteps = torch.randint(0, 1000, (BATCH,), generator=generator)
        signal, sigma = alphas[timesteps].sqrt().view(-1, 1, 1, 1), (1 - alphas[timesteps]).sqrt().view(-1, 1, 1, 1)
        features = conditioner(images).features
        context = with_position(features).flatten(2).repeat(1, conditioner.config.context_repeats, 1).mT.contiguous()
        noisy = signal * mask_latents + sigma * noise
        answer = unet(torch.cat([image_latents, noisy], 1), timesteps, encoder_hidden_states=context).sample
        diffusion = ((answer.float() - (signal * noise - sigma * mask_latents).float()) ** 2).mean()
        eighth = functional.interpolate(masks.repeat(1, 3, 1, 1), scale_factor=0.125, mode="bilinear")
        auxiliary = ((head(features).float() - eighth.float()) ** 2).mean()
        total = diffusion + auxiliary
        losses.append((total.item(), diffusion.item(), auxiliary.item()))
        gradients = torch.autograd.grad(total, parameters, allow_unused=True)
        take_step(parameters, gradients, first, second, step + 1, len(list(unet.parameters())))
    return losses, {"unet": unet, "conditioner": conditioner}


def read(folder, numbers):
    images, masks = [], []
    for number in numbers:
        size, bicubic = (SIDE_PX, SIDE_PX), Image.Resampling.BICUBIC
        images.append(np.array(Image.open(folder / f"photos/{number}.png").convert("RGB").resize(size, bicubic)))
        masks.append(np.array(Image.open(folder / f"masks/{number}.png").resize(size, bicubic)))
    pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255
    return pixels.double(), (torch.from_numpy(np.stack(masks))[:, None].float() / 255).double()


def pyramid_noise(shape, generator):
    batch, channels, height, width = shape
    noise = torch.randn(shape, generator=generator)
    w, h = width, height
    for i in range(6):
        r = torch.rand((), generator=generator).item() * 2 + 2
        w, h = max(1, int(w / r**i)), max(1, int(h / r**i))
        coarse = torch.randn(batch, channels, h, w, generator=generator)
        noise = noise + nn.Upsample(size=(height, width), mode="bilinear")(coarse) * 0.3**i
        if w == 1 or h == 1:
            break
    return noise / noise.std()


def with_position(features):
    """The tiny conditioner adds a code of row and column; that of SOD-diffusion adds none."""
    from model.conditioner import position_code

    return features + position_code(*features.shape[1:]).double()


@torch.no_grad()
def take_step(parameters, gradients, first, second, number, of_unet):
    """AdamW (Loshchilov and Hutter 2019, algorithm 2); only the first `of_unet` gradients, the UNet's, are cut to 1."""
    length = torch.stack([g.norm() for g in gradients[:of_unet] if g is not None]).norm()
    cut = min(1.0, (1.0 / (length + 1e-6)).item())
    for place, (parameter, gradient) in enumerate(zip(parameters, gradients, strict=True)):
        if gradient is None:  # the side output of the conditioner
            continue
        g = gradient * cut if place < of_unet else gradient
        first[place].mul_(BETAS[0]).add_(g, alpha=1 - BETAS[0])
        second[place].mul_(BETAS[1]).add_(g * g, alpha=1 - BETAS[1])
        mean, square = first[place] / (1 - BETAS[0] ** number), second[place] / (1 - BETAS[1] ** number)
        parameter.sub_(RATE * DECAY * parameter + RATE * mean / (square.sqrt() + EPSILON))

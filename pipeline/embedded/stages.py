"""The stages that make a model from composites: conditioner, VAE, cached latents, diffusion.

Each writes a checkpoint to the training's folder and is skipped once that is complete: run the same command again to
resume. Conditioner and VAE do not depend on each other and may run side by side in two processes.
"""

import hashlib
import logging
from collections.abc import Iterator
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors.torch import load_file, save
from torch import Tensor, nn

from model.architectures import build_pipeline
from model.config import LossConfig
from model.diffusion import SODDiffusionPipeline
from model.training import diffusion_loss, side_loss, standardise_latents, vae_loss
from pipeline.embedded.data import Pairs, crop_and_flip
from pipeline.embedded.loop import Schedule, TrainedGroup, run_stage, step_generator
from pipeline.files.storage import publish

log = logging.getLogger(__name__)

BACKBONE_RATE_SHARE = 0.1
"""Learning rate of the pretrained backbone, as a share of that of the new layers."""
DIFFUSION_LOSS = LossConfig(
    multires_noise_iterations=6,
    multires_noise_discount=0.3,
    multires_noise_copies="geometric",
    timestep_exponent=0.6,
    timestep_draw="rounded",
)
"""What the UNet learns from: written out, so that the same weights come out whatever the defaults of training are."""
STATISTICS_MASKS = 512
"""Masks whose latents are measured in order to standardise latents."""


def train_conditioner(pipeline: SODDiffusionPipeline, data: Pairs, schedule: Schedule, folder: Path, seed: int) -> None:
    """Fit the side output to the masks; batch norm in the pretrained backbone stays as it is."""
    conditioner, side_px = pipeline.conditioner.train(), pipeline.default_processing_res
    for module in conditioner.backbone.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    pretrained = list(conditioner.backbone.parameters())
    new = [p for name, p in conditioner.named_parameters() if not name.startswith("backbone.")]

    def loss_of_step(step: int) -> Tensor:
        generator = step_generator(seed, "conditioner", step)
        images, masks = crop_and_flip(*data.draw(schedule.batch, generator), side_px, generator)
        return side_loss(conditioner(images), masks)

    groups = [TrainedGroup(parameters=new), TrainedGroup(parameters=pretrained, rate_share=BACKBONE_RATE_SHARE)]
    run_stage(conditioner, groups, loss_of_step, schedule, folder / "conditioner.pt")
    conditioner.eval()


def train_vae(pipeline: SODDiffusionPipeline, data: Pairs, schedule: Schedule, folder: Path, seed: int) -> None:
    """Learn to reconstruct images in [0, 1] and masks in [-1, 1], half a batch each; then standardise the latents."""
    vae, side_px = pipeline.vae.train(), pipeline.default_processing_res

    def loss_of_step(step: int) -> Tensor:
        generator = step_generator(seed, "vae", step)
        # With crops of 5/8 of the side, the VAE sees twice as many pictures in the same time.
        images, masks = crop_and_flip(*data.draw(schedule.batch, generator), side_px * 5 // 8 // 8 * 8, generator)
        half = schedule.batch // 2
        return vae_loss(vae, torch.cat([images[:half], _as_vae_input(masks[half:])]), generator)

    run_stage(vae, [TrainedGroup(parameters=list(vae.parameters()))], loss_of_step, schedule, folder / "vae.pt")
    vae.eval()
    standardise_latents(vae, *_latent_statistics(pipeline, data))


@torch.no_grad()
def cache_latents(pipeline: SODDiffusionPipeline, data: Pairs, folder: Path) -> dict[str, Tensor]:
    """Compute image latents, mask latents and context of every pair, float16, and keep one file per part on disk.

    The folder's name is the digest of the weights that made the files, so that latents of other weights are never used.
    """
    folder = folder / _weights_digest(pipeline.vae, pipeline.conditioner)
    parts = []
    for number, (images, masks) in enumerate(data.parts()):
        path = folder / f"{number:05d}.safetensors"
        if not path.exists():
            publish(str(path), save(_encode_part(pipeline, images, masks)))
            log.info("cached latents of part %d", number)
        parts.append(load_file(path))
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def train_diffusion(
    pipeline: SODDiffusionPipeline, cached: dict[str, Tensor], schedule: Schedule, folder: Path, seed: int
) -> None:
    """Train the UNet on cached latents and context, for which VAE and conditioner are frozen."""
    unet = pipeline.unet.train()

    def loss_of_step(step: int) -> Tensor:
        generator = step_generator(seed, "diffusion", step)
        chosen = torch.randint(len(cached["context"]), (schedule.batch,), generator=generator)
        batch = {name: values[chosen].float() for name, values in cached.items()}
        latents = batch["image_latents"], batch["mask_latents"]
        return diffusion_loss(pipeline, *latents, batch["context"], generator, DIFFUSION_LOSS)

    run_stage(unet, [TrainedGroup(parameters=list(unet.parameters()))], loss_of_step, schedule, folder / "diffusion.pt")
    unet.eval()


def new_pipeline(seed: int) -> SODDiffusionPipeline:
    """The nano architecture with weights drawn from `seed`."""
    torch.manual_seed(seed)
    return build_pipeline("nano")


def _as_vae_input(masks: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b 3 h w"]:
    return (masks * 2 - 1).expand(-1, 3, -1, -1)


def _weights_digest(*networks: nn.Module) -> str:
    digest = hashlib.sha256()
    for network in networks:
        for name, value in network.state_dict().items():
            digest.update(name.encode() + value.numpy().tobytes())
    return digest.hexdigest()[:16]


def _encode_part(pipeline: SODDiffusionPipeline, images: Tensor, masks: Tensor) -> dict[str, Tensor]:
    encoded: dict[str, list[Tensor]] = {"image_latents": [], "mask_latents": [], "context": []}
    for pixels, mask in _resized_batches(images, masks, pipeline.default_processing_res):
        encoded["image_latents"].append(pipeline.encode(pixels).half())
        encoded["mask_latents"].append(pipeline.encode(_as_vae_input(mask)).half())
        encoded["context"].append(pipeline.conditioner(pixels).context.half())
    # safetensors requires contiguous tensors; a network in channels_last produces others.
    return {name: torch.cat(values).contiguous() for name, values in encoded.items()}


def _resized_batches(images: Tensor, masks: Tensor, side_px: int, batch: int = 20) -> Iterator[tuple[Tensor, Tensor]]:
    for start in range(0, len(images), batch):
        chosen = slice(start, start + batch)
        yield crop_and_flip(images[chosen], masks[chosen], side_px, None)


@torch.no_grad()
def _latent_statistics(pipeline: SODDiffusionPipeline, data: Pairs) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation per channel of the unscaled latents of masks, since noise is added to those."""
    images, masks = data.draw(STATISTICS_MASKS, torch.Generator().manual_seed(0))
    latents = [
        pipeline.vae.encode(_as_vae_input(mask)).latent_dist.mode()
        for _, mask in _resized_batches(images, masks, pipeline.default_processing_res)
    ]
    values = torch.cat(latents)
    return values.mean((0, 2, 3)), values.std((0, 2, 3))
